"""One connection of the server that speaks HTTP/2 (RFC 9113): many calls at once, one handshake.

kube-scheduler binds pods concurrently, and Go's client keeps two idle HTTP/1.1 connections: most bindings would begin
with a TLS handshake, which costs both sides more than the binding. With HTTP/2, which Go prefers where it is offered,
all calls share one connection.

A server's part and no more: no push, no priorities. The window of a stream holds one whole body, that of the connection
a few, and it opens again only as calls end, so what an unfinished call hoards is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, cast

from scheduler.extender import frames
from scheduler.extender.connection import NEVER, Host
from scheduler.extender.errors import BadFrames, BadHeaders
from scheduler.extender.frames import END_HEADERS, END_STREAM, FrameReader, frame, number
from scheduler.extender.hpack import Decoder, status_block
from scheduler.extender.http import Request, Response, refusal, route
from scheduler.extender.reading import is_json

STREAMS: Final = 128
BODIES: Final = 4
"""Whole bodies that all unfinished calls of a connection may hold together."""


class Stream:
    """One call that has begun and is not answered yet."""

    __slots__ = ("body", "headers", "since", "size", "spent")

    def __init__(self, headers: dict[bytes, bytes], since: float) -> None:
        self.headers, self.since = headers, since
        self.body: list[bytes] = []
        self.size = self.spent = 0


class Http2Connection(asyncio.Protocol):
    """The protocol of one connection whose handshake chose "h2"."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._transport: asyncio.Transport | None = None
        self._frames = FrameReader()
        self._decoder = Decoder(host.limits.head_bytes)
        self._streams: dict[int, Stream] = {}  # unfinished requests
        self._tasks: dict[int, asyncio.Task[None]] = {}  # handlers that wait, one a stream
        self._running: set[asyncio.Task[None]] = set()  # the same, with those whose caller has gone
        self._block: tuple[int, int, bytearray] | None = None  # headers that go on in the next frame
        self._last = 0
        self._windows: dict[int, int] = {}  # what the caller takes of each stream that is being answered
        self._window = self._stream_window = frames.WINDOW_BYTES
        self._owed: dict[int, bytes] = {}  # rests of answers that no window is open for
        self._owed_since = self._stuck_since = NEVER
        self._begun = self._heard = host.clock()
        self._leaving = False
        self._out: list[bytes] = []
        self._flushing = False
        self._spare = 0
        self._on: dict[int, Callable[[int, int, bytes], None]] = {
            frames.DATA: self._on_data,
            frames.HEADERS: self._on_head,
            frames.CONTINUATION: self._go_on,
            frames.SETTINGS: self._on_settings,
            frames.PING: self._on_ping,
            frames.WINDOW: self._on_window,
            frames.RESET: lambda flags, stream, payload: self._forget(stream),
            frames.GOAWAY: lambda flags, stream, payload: self.retire(),
            frames.PUSH: self._on_push,
        }

    # --- transport ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what we take, or leave when there are too many of us."""
        self._transport = cast(asyncio.Transport, transport)
        limits = self.host.limits
        if self.host.draining or len(self.host.connections) >= limits.connections:
            self._transport.abort()
            return
        self.host.connections.add(self)
        offered = {
            frames.MOST_STREAMS: STREAMS,
            frames.INITIAL_WINDOW: limits.body_bytes + 1,  # one more shows that a body is too large
            frames.HEADER_LIST: limits.head_bytes,
        }
        more = max(0, BODIES * (limits.body_bytes + 1) - frames.WINDOW_BYTES)
        self._write(frames.settings(offered) + frame(frames.WINDOW, 0, 0, number(more or 1)))
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go. What a handler has begun runs to its end: a binding is not torn in the middle."""
        self._transport = None
        self._streams.clear()
        self._tasks.clear()
        self._owed.clear()
        self.host.left(self)

    def data_received(self, data: bytes) -> None:
        """Take frames and answer the calls that they complete; what breaks the protocol ends the connection."""
        try:
            for kind, flags, stream, payload in self._frames.feed(data):
                self._heard = self.host.clock()
                self._take(kind, flags, stream, payload)
                if self._transport is None:
                    return
        except BadFrames as fault:
            self._end(fault.code)
        except BadHeaders:
            self._end(frames.COMPRESSION)
        self._flush()

    def pause_writing(self) -> None:
        """The caller does not read: stop taking its calls until it does."""
        self._stuck_since = self.host.clock()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._stuck_since = NEVER
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # --- frames ---------------------------------------------------------------------------------------------

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if (self._block is not None) != (kind == frames.CONTINUATION):
            raise BadFrames(frames.PROTOCOL_ERROR, "headers that are interrupted, or go on from nothing")
        found = self._on.get(kind)  # frames of unknown kinds are passed over
        if found is not None:
            found(flags, stream, payload)

    def _on_head(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream & 1 or (stream <= self._last and stream not in self._streams):
            raise BadFrames(frames.PROTOCOL_ERROR, "a stream that cannot be")
        self._block = stream, flags, bytearray(frames.unpadded(flags, payload))
        self._on_headers(flags)

    def _on_ping(self, flags: int, stream: int, payload: bytes) -> None:
        if not flags & frames.ACK:
            self._write(frame(frames.PING, frames.ACK, 0, _sized(payload, 8)))

    def _go_on(self, flags: int, stream: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream:
            raise BadFrames(frames.PROTOCOL_ERROR, "headers of another stream")
        self._block[2].extend(payload)
        if len(self._block[2]) > self.host.limits.head_bytes:
            raise BadFrames(frames.CALM, "headers without an end")
        self._on_headers(flags)

    def _on_headers(self, flags: int) -> None:
        """Open a stream once its headers are whole; a second block of it is trailers, which end it."""
        if self._block is None or not flags & END_HEADERS:
            return
        (stream, first, block), self._block = self._block, None
        headers = self._decoder.read(bytes(block))  # refused ones too: the next block may refer to it
        if stream not in self._streams:
            self._last = stream
            if self._leaving or len(self._running) + len(self._streams) + len(self._owed) >= STREAMS:
                self._reset(stream, frames.REFUSED)
                return
            self._streams[stream] = Stream(dict(headers), self.host.clock())
            self._windows[stream] = self._stream_window
        if first & END_STREAM:
            self._complete(stream)

    def _on_data(self, flags: int, stream: int, payload: bytes) -> None:
        """Keep a piece of a body; of a stream that is no more it is thrown away, and its room is given back."""
        found = self._streams.get(stream)
        if found is None:
            if stream > self._last or not stream:
                raise BadFrames(frames.PROTOCOL_ERROR, "data of no stream")
            self._give_back(len(payload))
            return
        content = frames.unpadded(flags & frames.PADDED, payload)
        found.spent += len(payload)
        found.size += len(content)
        if found.size > self.host.limits.body_bytes:
            self._refuse(stream, refusal(413, f"a body has at most {self.host.limits.body_bytes} bytes"))
            return
        found.body.append(content)
        if flags & END_STREAM:
            self._complete(stream)

    def _on_push(self, flags: int, stream: int, payload: bytes) -> None:
        raise BadFrames(frames.PROTOCOL_ERROR, "a caller cannot push")

    def _on_settings(self, flags: int, stream: int, payload: bytes) -> None:
        if flags & frames.ACK:
            return
        for setting, value in frames.read_settings(payload):
            if setting == frames.INITIAL_WINDOW:
                if value > frames.LARGEST_WINDOW:
                    raise BadFrames(frames.FLOW_CONTROL, "a window that is too large")
                change, self._stream_window = value - self._stream_window, value
                for stream in self._windows:
                    self._windows[stream] += change
        self._write(frame(frames.SETTINGS, frames.ACK, 0))
        self._pay()

    def _on_window(self, flags: int, stream: int, payload: bytes) -> None:
        more = int.from_bytes(_sized(payload, 4), "big") & frames.LARGEST_WINDOW
        if not stream:
            self._window += more
        elif stream in self._windows:
            self._windows[stream] += more
        if max(self._window, self._windows.get(stream, 0)) > frames.LARGEST_WINDOW:
            raise BadFrames(frames.FLOW_CONTROL, "a window that is too large")
        self._pay()

    # --- calls ----------------------------------------------------------------------------------------------

    def _complete(self, stream: int) -> None:
        """Answer a whole request, now or when its handler has."""
        found = self._streams.pop(stream)
        self._give_back(found.spent)
        began, headers = self.host.clock(), found.headers
        path, _, query = headers.get(b":path", b"").decode("latin-1").partition("?")
        body = found.body[0] if len(found.body) == 1 else b"".join(found.body)
        request = Request(headers.get(b":method", b"").decode("latin-1"), path, query, body)
        answer: Response | Awaitable[Response]
        handler = route(self.host.routes, request)
        if isinstance(handler, Response):
            answer = handler
        elif request.method == "POST" and not _is_plain_json(headers):
            answer = refusal(415, "a body is application/json, not encoded")
        else:
            try:
                answer = handler(request)
            except Exception as fault:
                answer = self.host.answer_to_fault(request.path, fault)
        if isinstance(answer, Response):
            self._answer(stream, request, answer, began)
            return
        task = asyncio.ensure_future(self._wait_for(stream, request, answer, began))
        self._tasks[stream] = task
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _wait_for(
        self, stream: int, request: Request, answer: Awaitable[Response], began: float
    ) -> None:
        try:
            response = await answer
        except Exception as fault:
            response = self.host.answer_to_fault(request.path, fault)
        if self._tasks.pop(stream, None) is None:
            self.host.observe(request, response.status, began)  # its caller has gone
            return
        self._answer(stream, request, response, began)
        if not self._flushing and self._transport is not None:
            # Others may be answered in this turn of the loop; a write that wakes the caller costs more than an answer.
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _answer(self, stream: int, request: Request, response: Response, began: float) -> None:
        self._send(stream, response, head_only=request.method == "HEAD")
        self.host.observe(request, response.status, began)

    def _send(self, stream: int, response: Response, *, head_only: bool = False) -> None:
        if self._transport is None:
            return
        body = b"" if head_only else response.body
        block = status_block(response.status, response.content_type, len(response.body), response.headers)
        flags = END_HEADERS if body else END_HEADERS | END_STREAM
        self._write(frame(frames.HEADERS, flags, stream, block))
        if body:
            self._owed[stream] = body
            self._pay()
        else:
            self._windows.pop(stream, None)
            self._leave_if_done()

    def _refuse(self, stream: int, response: Response) -> None:
        """Answer before the request is whole, and ask for no more of it."""
        self._give_back(self._streams.pop(stream).spent)
        self._send(stream, response)
        self._reset(stream, frames.NO_ERROR)

    def _pay(self) -> None:
        """Send of what is owed as much as the windows take."""
        for stream in [*self._owed]:
            body, at = self._owed[stream], 0
            while at < len(body):
                size = min(frames.FRAME_BYTES, self._window, self._windows[stream], len(body) - at)
                if size <= 0:
                    break
                last = END_STREAM if at + size == len(body) else 0
                self._write(frame(frames.DATA, last, stream, body[at : at + size]))
                self._window -= size
                self._windows[stream] -= size
                at += size
            if at == len(body):
                del self._owed[stream], self._windows[stream]
            else:
                self._owed[stream] = body[at:]
        if not self._owed:
            self._owed_since = NEVER
            self._leave_if_done()
        elif self._owed_since == NEVER:
            self._owed_since = self.host.clock()

    def _give_back(self, size: int) -> None:
        """Room of bodies that have ended; told when it is worth a write of its own, which is one body of BODIES."""
        self._spare += size
        if self._spare > self.host.limits.body_bytes and not self._leaving:
            self._write(frame(frames.WINDOW, 0, 0, number(self._spare)))
            self._spare = 0

    def _forget(self, stream: int) -> None:
        found = self._streams.pop(stream, None)
        if found is not None:
            self._give_back(found.spent)
        self._tasks.pop(stream, None)
        self._owed.pop(stream, None)
        self._windows.pop(stream, None)
        self._leave_if_done()

    def _reset(self, stream: int, code: int) -> None:
        self._write(frame(frames.RESET, 0, stream, number(code)))
        self._forget(stream)

    # --- the end --------------------------------------------------------------------------------------------

    def _write(self, content: bytes) -> None:
        self._out.append(content)

    def _flush(self) -> None:
        """What one turn of the loop has to say goes out as one TLS record."""
        out, self._out, self._flushing = self._out, [], False
        if out and self._transport is not None:
            self._transport.write(b"".join(out))

    def _end(self, code: int) -> None:
        self._write(frame(frames.GOAWAY, 0, 0, number(self._last) + number(code)))
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _leave_if_done(self) -> None:
        if self._leaving and not (self._streams or self._tasks or self._owed) and self._transport is not None:
            self._flush()
            self._transport.close()

    # --- called by the server -------------------------------------------------------------------------------

    def is_late(self, now: float) -> bool:
        """Whether the caller has run out of time: to greet, to ask on, to take its answer, or to ask at all."""
        limits = self.host.limits
        owed = min(self._owed_since, self._stuck_since)
        if not self._frames.greeted:
            return now - self._begun > limits.head_seconds
        if now - owed > limits.answer_seconds:
            return True
        if self._streams:
            return now - next(iter(self._streams.values())).since > limits.body_seconds
        return not (self._tasks or self._owed) and now - self._heard > limits.idle_seconds

    def expire(self) -> None:
        """End what is late."""
        now, limits = self.host.clock(), self.host.limits
        if now - min(self._owed_since, self._stuck_since) > limits.answer_seconds or not self._frames.greeted:
            self.abort()
        elif self._streams:
            for stream in [
                s for s, found in self._streams.items() if now - found.since > limits.body_seconds
            ]:
                self._refuse(stream, refusal(408, "request too slow"))
            self._flush()
        else:
            self._end(frames.NO_ERROR)

    def retire(self) -> None:
        """Drain: no call more, and the connection closes after the last answer."""
        if not self._leaving:
            self._write(frame(frames.GOAWAY, 0, 0, number(self._last) + number(frames.NO_ERROR)))
            self._leaving = True
        self._flush()
        self._leave_if_done()

    def abort(self) -> None:
        """Cut off."""
        if self._transport is not None:
            self._transport.abort()


def _sized(payload: bytes, size: int) -> bytes:
    if len(payload) != size:
        raise BadFrames(frames.FRAME_SIZE, "a frame of the wrong size")
    return payload


def _is_plain_json(headers: dict[bytes, bytes]) -> bool:
    encoded = headers.get(b"content-encoding", b"identity").lower() != b"identity"
    return not encoded and is_json(headers.get(b"content-type", b""))
