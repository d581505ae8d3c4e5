"""One connection of the server that speaks HTTP/2: many calls at once, one handshake.

kube-scheduler binds pods concurrently, and Go's client keeps two idle HTTP/1.1 connections: most bindings would begin
with a TLS handshake, which costs both sides more than the binding. With HTTP/2, which Go prefers where it is offered,
all calls share one connection.

Here are calls, times and limits; the protocol is in `frames`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import cast

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from scheduler.extender.calls import Call, awaited
from scheduler.extender.frames import STREAMS, Frames
from scheduler.extender.host import Host
from scheduler.extender.http import Request, Response, refusal
from scheduler.extender.patience import Patience


class Http2Connection(asyncio.Protocol):
    """The protocol of one connection whose handshake chose "h2"."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._transport: asyncio.Transport | None = None
        self._frames = Frames(host.limits)
        self._calls: dict[int, Call] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}  # handlers that wait, one a stream
        self._running: set[asyncio.Task[None]] = set()  # the same, with those whose caller has gone
        self._patience = Patience(host.clock, host.limits)
        self._leaving = self._flushing = False

    # --- transport ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what we take, or leave when there are too many of us."""
        self._transport = cast(asyncio.Transport, transport)
        if self.host.draining or len(self.host.connections) >= self.host.limits.connections:
            self._transport.abort()
            return
        self.host.connections.add(self)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go. What a handler has begun runs to its end: a binding is not torn in the middle."""
        self._transport = None
        self._calls.clear()
        self._tasks.clear()
        self._frames.owed.clear()
        self.host.left(self)

    def data_received(self, data: bytes) -> None:
        """Take frames and answer the calls that they complete; what breaks the protocol ends the connection."""
        if not self._is_open():
            return
        try:
            for event in self._frames.read(data):
                self._patience.hear()
                self._see(event)
        except ProtocolError as fault:
            self._end(fault.error_code)
        self._flush()

    def pause_writing(self) -> None:
        """The caller does not read: stop taking its calls until it does."""
        self._patience.stuck(is_stuck=True)
        if self._transport is not None and self._is_open():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._patience.stuck(is_stuck=False)
        if self._transport is not None and self._is_open():
            self._transport.resume_reading()

    # --- events ---------------------------------------------------------------------------------------------

    def _see(self, event: events.Event) -> None:
        match event:
            case events.RequestReceived():
                self._begin(event.stream_id, dict(event.headers))
            case events.DataReceived():
                self._keep(event.stream_id, event.data, event.flow_controlled_length)
            case events.StreamEnded():
                self._complete(event.stream_id)
            case events.StreamReset():
                self._forget(event.stream_id)
            case events.WindowUpdated() | events.RemoteSettingsChanged():
                self._pay()
            case events.ConnectionTerminated():
                self._end(ErrorCodes.NO_ERROR)  # the library answers nothing after a caller's GOAWAY
            case _:
                pass  # PING and SETTINGS the library has answered

    def _begin(self, stream: int, headers: dict[bytes, bytes]) -> None:
        if self._leaving or len(self._running) + len(self._calls) + len(self._frames.owed) >= STREAMS:
            self._reset(stream, ErrorCodes.REFUSED_STREAM)
        else:
            self._calls[stream] = Call(headers, self.host.clock())

    def _keep(self, stream: int, content: bytes, spent: int) -> None:
        """Keep a piece of a body; of a call that is no more it is thrown away, and its room is given back."""
        found = self._calls.get(stream)
        if found is None:
            self._frames.give_back(spent, stream)
            return
        found.spent += spent
        found.body += content
        if len(found.body) > self.host.limits.body_bytes:
            self._refuse(stream, refusal(413, f"a body has at most {self.host.limits.body_bytes} bytes"))

    # --- calls ----------------------------------------------------------------------------------------------

    def _complete(self, stream: int) -> None:
        """Answer a whole request, now or when its handler has."""
        found = self._end_call(stream)
        if found is None:
            return
        began, request = self.host.clock(), found.request()
        answer = found.begin(self.host, request)
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
        response = await awaited(self.host, request, answer)
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
        self._frames.answer(stream, response, head_only=head_only)
        self._look_at_owed()

    def _pay(self) -> None:
        self._frames.pay()
        self._look_at_owed()

    def _look_at_owed(self) -> None:
        """Since when the caller lets us wait; a connection that owes nothing may be one to leave."""
        self._patience.owed(is_owed=bool(self._frames.owed))
        self._leave_if_done()

    def _end_call(self, stream: int) -> Call | None:
        """A request that takes no more; its room is for others."""
        found = self._calls.pop(stream, None)
        if found is not None:
            self._frames.give_back(found.spent, stream)
        return found

    def _refuse(self, stream: int, response: Response) -> None:
        """Answer before the request is whole, and ask for no more of it."""
        self._end_call(stream)
        self._send(stream, response)
        self._reset(stream, ErrorCodes.NO_ERROR)

    def _reset(self, stream: int, code: ErrorCodes) -> None:
        self._frames.reset(stream, code)
        self._forget(stream)

    def _forget(self, stream: int) -> None:
        self._end_call(stream)
        self._tasks.pop(stream, None)
        self._frames.owed.pop(stream, None)
        self._look_at_owed()

    # --- the end --------------------------------------------------------------------------------------------

    def _is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def _flush(self) -> None:
        """What one turn of the loop has to say goes out as one TLS record."""
        self._flushing = False
        out = self._frames.to_send()
        if out and self._transport is not None:
            self._transport.write(out)

    def _say_goodbye(self, code: int) -> None:
        self._flush()
        if self._transport is not None:
            self._transport.write(self._frames.goodbye(code))

    def _end(self, code: int) -> None:
        self._say_goodbye(code)
        if self._transport is not None:
            self._transport.close()

    def _leave_if_done(self) -> None:
        busy = self._calls or self._tasks or self._frames.owed
        if self._leaving and not busy and self._transport is not None:
            self._flush()
            self._transport.close()

    # --- called by the server -------------------------------------------------------------------------------

    def is_late(self, now: float) -> bool:
        """Whether the caller has run out of time: to greet, to ask on, to take its answer, or to ask at all."""
        if not self._patience.greeted:
            return self._patience.has_not_greeted(now)
        if self._patience.takes_no_answer(now):
            return True
        if self._calls:
            return now - next(iter(self._calls.values())).since > self.host.limits.body_seconds
        return not (self._tasks or self._frames.owed) and self._patience.is_idle(now)

    def expire(self) -> None:
        """End what is late."""
        now, limits = self.host.clock(), self.host.limits
        if self._patience.takes_no_answer(now) or not self._patience.greeted:
            self.abort()
        elif self._calls:
            late = [s for s, found in self._calls.items() if now - found.since > limits.body_seconds]
            for stream in late:
                self._refuse(stream, refusal(408, "request too slow"))
            self._flush()
        else:
            self._end(ErrorCodes.NO_ERROR)

    def retire(self) -> None:
        """Drain: no call more, and the connection closes after the last answer."""
        if not self._leaving:
            self._leaving = True
            self._say_goodbye(ErrorCodes.NO_ERROR)
        self._leave_if_done()

    def abort(self) -> None:
        """Cut off."""
        if self._transport is not None:
            self._transport.abort()
