"""One connection of the server: bytes in, requests out, answers in order, every limit held.

No timer per request: the server sweeps all connections once a second
and looks at `deadline`. Called by the event loop and by `server`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import cast

from scheduler.extender.calls import ask, awaited
from scheduler.extender.host import NEVER, Host
from scheduler.extender.http import Request, Response, refusal, route, serialised
from scheduler.extender.reading import ANSWER, BODY, CLOSING, HEAD, IDLE, RequestReader

LINGER_SECONDS = 2.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


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
        self._reader = RequestReader(host.routes, host.limits, self._enter)
        self._seconds = {
            HEAD: host.limits.head_seconds,
            BODY: host.limits.body_seconds,
            ANSWER: NEVER,  # handlers have limits of their own, and what one has begun is not cut off
            IDLE: host.limits.idle_seconds,
            CLOSING: host.limits.answer_seconds,
        }
        self._task: asyncio.Task[None] | None = None
        self._write_by = NEVER
        self._reading = True

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
        self._reader.ready.clear()

    def data_received(self, data: bytes) -> None:
        """Parse, then answer what is complete; after a refusal the rest is thrown away."""
        reader = self._reader
        if self.state == CLOSING or reader.refused is not None:
            return
        if self.state == IDLE:
            self._enter(HEAD)
        reader.feed(data)
        if self._transport is not None and self._task is None and reader.wants_go_on():
            self._transport.write(CONTINUE)
        self._answer_ready()

    def pause_writing(self) -> None:
        """The caller does not read: stop taking its requests until it does."""
        self._write_by = self.host.clock() + self.host.limits.answer_seconds
        self._throttle()

    def resume_writing(self) -> None:
        """Go on."""
        self._write_by = NEVER
        self._answer_ready()

    # --- answers --------------------------------------------------------------------------------------------

    def _enter(self, state: int) -> None:
        if self.state != CLOSING:
            self.state, self.deadline = state, self.host.clock() + self._seconds[state]

    def _answer_ready(self) -> None:
        """Answer complete requests in their order until one has to be waited for."""
        while (
            self._reader.ready
            and self._task is None
            and self._write_by == NEVER
            and self._transport is not None
        ):
            self._answer(self._reader.ready.popleft())
        if self._transport is None or self.state == CLOSING:
            return
        if self._reader.refused is not None and not self._reader.ready and self._task is None:
            self._linger(serialised(self._reader.refused, close=True, head_only=False))
        elif self.state == ANSWER and not self._reader.ready and self._task is None:
            self._enter(IDLE)
        self._throttle()

    def _answer(self, request: Request) -> None:
        began = self.host.clock()
        handler = route(self.host.routes, request)
        if isinstance(handler, Response):
            self._send(request, handler, began)
            return
        answer = ask(self.host, handler, request)
        if isinstance(answer, Response):
            self._send(request, answer, began)
        else:
            self._task = asyncio.ensure_future(self._wait_for(request, answer, began))

    async def _wait_for(self, request: Request, answer: Awaitable[Response], began: float) -> None:
        response = await awaited(self.host, request, answer)
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
        self._reader.ready.clear()
        self._enter(CLOSING)
        self._transport.close()

    def _linger(self, last: bytes) -> None:
        """Say why, then read on for a while without listening.

        Closing a socket that has unread bytes makes the kernel send a reset, which may overtake the answer.
        """
        if self._transport is None:
            return
        self._transport.write(last)
        self._enter(CLOSING)
        self.deadline = self.host.clock() + LINGER_SECONDS
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _throttle(self) -> None:
        """Stop reading while answers are owed: a caller cannot make us hoard."""
        if self._transport is None or self._transport.is_closing():
            return
        wanted = self._write_by == NEVER and len(self._reader.ready) < self.host.limits.pipelined
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
            self._reader.refused = self._reader.refused or refusal(408, "request too slow")
            self._enter(ANSWER)
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
