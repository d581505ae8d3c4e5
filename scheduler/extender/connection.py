"""One connection of the server: bytes in, requests out, answers in order, every limit held.

httptools (llhttp) parses; this protocol counts. No timer per request: the server sweeps all connections once a second
and looks at `deadline`. Called by the event loop and by `server`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

import httptools

from scheduler.extender.http import Limits, Request, Response, Routes, refusal, route, serialised

IDLE, HEAD, BODY, ANSWER, CLOSING = range(5)
NEVER = float("inf")
LINGER_SECONDS = 2.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
JSON_TYPES = (b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8")


class Host(Protocol):
    """What a connection needs of its server."""

    routes: Routes
    limits: Limits
    draining: bool
    connections: set[Connection]
    clock: Callable[[], float]

    def left(self, connection: Connection) -> None:
        """A connection is gone."""
        ...

    def answer_to_fault(self, path: str, fault: Exception) -> Response:
        """The answer to an exception of a handler."""
        ...

    def observe(self, request: Request, status: int, began: float) -> None:
        """See one answered request."""
        ...


class Connection(asyncio.Protocol):
    """The protocol of one connection.

    Requests are answered in the order of their arrival. A handler that returns an awaitable holds up the ones behind it
    on the same connection, and no other.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.deadline = NEVER
        self.state = IDLE
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._ready: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._write_by = NEVER
        self._reading = True
        self._moved = False
        self._unparsed = 0
        self._target = b""
        self._head = 0
        self._body: list[bytes] = []
        self._size = 0
        self._length = -1
        self._chunked = False
        self._type = b""
        self._encoded = False
        self._expects = False
        self._refused: Response | None = None

    # --- transport ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a first request, or leave when there are too many of us."""
        self._transport = cast(asyncio.Transport, transport)
        limits = self.host.limits
        if self.host.draining or len(self.host.connections) >= limits.connections:
            self._transport.abort()
            return
        self.host.connections.add(self)
        self.deadline = self.host.clock() + limits.head_seconds

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go. What a handler has begun runs to its end: a binding is not torn in the middle."""
        self.host.left(self)
        self.state, self.deadline = CLOSING, NEVER
        self._transport = None
        self._ready.clear()

    def data_received(self, data: bytes) -> None:
        """Parse, then answer what is complete; after a refusal the rest is thrown away."""
        if self.state == CLOSING or self._refused is not None:
            return
        if self.state == IDLE:
            self._enter(HEAD, self.host.limits.head_seconds)
        self._moved = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The wish for another protocol may be ignored; llhttp reads no further, so this request is the last.
            if self._ready:
                self._ready[-1].keep_alive = False
        except httptools.HttpParserError:
            self._refuse(refusal(400, "not HTTP/1.1"))
        # Headers are handed over when they are complete; one that only grows shows as bytes without a callback.
        self._unparsed = 0 if self._moved else self._unparsed + len(data)
        if self.state == HEAD:
            self._count(self._unparsed)
        self._answer_ready()

    def pause_writing(self) -> None:
        """The caller does not read: stop taking its requests until it does."""
        self._write_by = self.host.clock() + self.host.limits.answer_seconds
        self._throttle()

    def resume_writing(self) -> None:
        """Go on."""
        self._write_by = NEVER
        self._answer_ready()

    # --- parser callbacks -----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins, possibly behind others."""
        self._target, self._body, self._size = b"", [], 0
        self._head, self._length, self._type = 0, -1, b""
        self._chunked = self._encoded = self._expects = False
        self._moved = True
        self._enter(HEAD, self.host.limits.head_seconds)

    def on_url(self, url: bytes) -> None:
        """The target, possibly in pieces."""
        self._target += url
        self._moved = True
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; the few that matter are kept."""
        self._moved = True
        self._count(len(name) + len(value) + len(b": \r\n"))
        # By length first: most headers are none of these.
        match len(name):
            case 14 if name.lower() == b"content-length":
                self._length = int(value) if value.isdigit() else -1
            case 12 if name.lower() == b"content-type":
                self._type = value
            case 17 if name.lower() == b"transfer-encoding":
                self._chunked = True
            case 16 if name.lower() == b"content-encoding":
                self._encoded = value.lower() != b"identity"
            case 6 if name.lower() == b"expect":
                self._expects = True

    def on_headers_complete(self) -> None:
        """Decide whether the body is worth reading."""
        self._moved = True
        if self._refused is not None:
            return
        path = self._target.partition(b"?")[0].decode("latin-1")
        is_call = self._parser.get_method() == b"POST" and ("POST", path) in self.host.routes
        self._refused = self._unfit(is_call)
        self._enter(BODY, self.host.limits.body_seconds)
        if self._expects and self._refused is None and self._transport is not None:
            self._transport.write(CONTINUE)

    def _unfit(self, needs_body: bool) -> Response | None:
        if needs_body and self._length < 0 and not self._chunked:
            return refusal(411, "Content-Length is missing")
        if self._length > self.host.limits.body_bytes:
            return refusal(413, f"a body has at most {self.host.limits.body_bytes} bytes")
        if needs_body and (self._encoded or not (self._type in JSON_TYPES or is_json(self._type))):
            return refusal(415, "a body is application/json, not encoded")
        return None

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._size += len(body)
        if self._size > self.host.limits.body_bytes:
            self._refused = self._refused or refusal(
                413, f"a body has at most {self.host.limits.body_bytes} bytes"
            )
        elif self._refused is None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """A request is complete: it waits for its turn."""
        if self._refused is not None:
            return
        path, _, query = self._target.partition(b"?")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._ready.append(
            Request(
                self._parser.get_method().decode("latin-1"),
                path.decode("latin-1"),
                query.decode("latin-1"),
                body,
                self._parser.should_keep_alive(),
            )
        )
        self._body = []
        self._enter(ANSWER, NEVER)

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > self.host.limits.head_bytes:
            self._refused = self._refused or refusal(431, "header too large")

    # --- answers --------------------------------------------------------------------------------------------

    def _enter(self, state: int, seconds: float) -> None:
        if self.state != CLOSING:
            self.state, self.deadline = state, self.host.clock() + seconds

    def _refuse(self, response: Response) -> None:
        """Answer once more, after what is under way, and hang up."""
        self._refused = self._refused or response

    def _answer_ready(self) -> None:
        """Answer complete requests in their order until one has to be waited for."""
        while self._ready and self._task is None and self._write_by == NEVER and self._transport is not None:
            self._answer(self._ready.popleft())
        if self._transport is None or self.state == CLOSING:
            return
        if self._refused is not None and not self._ready and self._task is None:
            self._linger(serialised(self._refused, close=True, head_only=False))
        elif self.state == ANSWER and not self._ready and self._task is None:
            self._enter(IDLE, self.host.limits.idle_seconds)
        self._throttle()

    def _answer(self, request: Request) -> None:
        began = self.host.clock()
        handler = route(self.host.routes, request)
        if isinstance(handler, Response):
            self._send(request, handler, began)
            return
        try:
            answer = handler(request)
        except Exception as fault:
            answer = self.host.answer_to_fault(request.path, fault)
        if isinstance(answer, Response):
            self._send(request, answer, began)
        else:
            self._task = asyncio.ensure_future(self._wait_for(request, answer, began))

    async def _wait_for(self, request: Request, answer: Awaitable[Response], began: float) -> None:
        try:
            response = await answer
        except Exception as fault:
            response = self.host.answer_to_fault(request.path, fault)
        self._task = None
        self._send(request, response, began)
        self._answer_ready()

    def _send(self, request: Request, response: Response, began: float) -> None:
        if self._transport is not None:
            close = not request.keep_alive or self.host.draining
            answer = serialised(response, close=close, head_only=request.method == "HEAD")
            if close:
                self._hang_up(answer)
            else:
                self._transport.write(answer)
        self.host.observe(request, response.status, began)

    def _hang_up(self, last: bytes) -> None:
        if self._transport is None:
            return
        if last:
            self._transport.write(last)
        self._ready.clear()
        self._enter(CLOSING, self.host.limits.answer_seconds)
        self._transport.close()

    def _linger(self, last: bytes) -> None:
        """Say why, then read on for a while without listening.

        Closing a socket that has unread bytes makes the kernel send a reset, which may overtake the answer.
        """
        if self._transport is None:
            return
        self._transport.write(last)
        self._enter(CLOSING, LINGER_SECONDS)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _throttle(self) -> None:
        """Stop reading while answers are owed: a caller cannot make us hoard."""
        if self._transport is None or self._transport.is_closing():
            return
        wanted = self._write_by == NEVER and len(self._ready) < self.host.limits.pipelined
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    # --- called by the server -------------------------------------------------------------------------------

    def is_late(self, now: float) -> bool:
        """Whether the caller has run out of time, to ask or to take its answer."""
        return self.deadline < now or self._write_by < now

    def expire(self) -> None:
        """End what is late."""
        if self.state in (HEAD, BODY) and self._write_by == NEVER:
            self._refuse(refusal(408, "request too slow"))
            self._enter(ANSWER, self.host.limits.answer_seconds)
            self._answer_ready()
        elif self.state == IDLE:
            self._hang_up(b"")
        else:
            self.abort()

    def retire(self) -> None:
        """Drain: an idle connection closes now, a busy one after its answer."""
        if self.state == IDLE and self._task is None:
            self._hang_up(b"")

    def abort(self) -> None:
        """Cut off."""
        if self._transport is not None:
            self._transport.abort()


def is_json(content_type: bytes) -> bool:
    """Whether a media type is JSON, whatever its parameters and case."""
    return content_type.partition(b";")[0].strip().lower() == b"application/json"
