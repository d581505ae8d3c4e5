"""The host's half of a session, without a socket: frames in, happenings out, and bytes to send.

It believes nothing: every frame is checked against what was asked, opened and granted, and what a guest can make it
hold is bounded (one unfinished frame, WINDOW for each of MAX_STREAMS streams). After a ProtocolViolation the link is
dead; other sandboxes have links of their own.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from sandbox_runtime.protocol import codec, frames
from sandbox_runtime.protocol.errors import ProtocolViolation, RequestFailed
from sandbox_runtime.protocol.frames import Frame
from sandbox_runtime.protocol.messages import METHODS, Hello
from sandbox_runtime.protocol.streams import Incoming, Outgoing

MAX_REQUESTS = 1024  # open at once, as the agent allows


class Greeted(NamedTuple):
    """The session has begun."""

    hello: Hello


class Answered(NamedTuple):
    """A request is over: with a message of its method's answer type, or with a failure."""

    request: int
    result: Any


class Told(NamedTuple):
    """The guest reports an event: Exited or OutOfMemory."""

    event: Any


class Moved(NamedTuple):
    """A stream changed: bytes or the end arrived (odd numbers), room or the end of reading (even ones)."""

    stream: int


class Ponged(NamedTuple):
    """The agent is alive."""


Happening = Greeted | Answered | Told | Moved | Ponged


class Link:
    """One session with one guest."""

    def __init__(self, nonce: bytes, take_over: bool = False) -> None:
        """`nonce`: 16 random bytes. `take_over`: an earlier host may have left the agent in the middle of a frame."""
        self._decoder = frames.Decoder(frames.mark(nonce))
        self._requests: dict[int, str] = {}
        self._next_request = 1
        self._next_in = 1
        self._next_out = 2
        self._ins: dict[int, Incoming] = {}
        self._outs: dict[int, Outgoing] = {}
        self._greeted = False
        self._events = 0
        self._pings: deque[bytes] = deque()
        self._urgent: deque[bytes] = deque([(frames.FILLER if take_over else b"") + frames.mark(nonce)])
        self._bulk: deque[bytes] = deque()

    # what the host does

    def request(self, method: str, params: Any) -> int:
        """Queue a request; its number comes back in Answered. Raises RequestFailed (busy), ValueError (too long)."""
        if len(self._requests) >= MAX_REQUESTS:
            raise RequestFailed(method, "busy", f"{MAX_REQUESTS} requests are open")
        number = self._next_request
        payload = codec.encode_request(method, params)
        self._queue([Frame(frames.REQUEST, number, payload)])
        self._requests[number] = method
        self._next_request += 1
        return number

    def open_in(self) -> Incoming:
        """A stream from the guest, to be named in a request. Raises RequestFailed (busy)."""
        self._check_room("stream")
        stream = Incoming(self._next_in)
        self._ins[stream.number] = stream
        self._next_in += 2
        return stream

    def open_out(self) -> Outgoing:
        """A stream to the guest, to be named in a request. Raises RequestFailed (busy)."""
        self._check_room("stream")
        stream = Outgoing(self._next_out)
        self._outs[stream.number] = stream
        self._next_out += 2
        return stream

    def take(self, stream: Incoming) -> bytes:
        """The next bytes of a stream; empty: none now, or see `ended`."""
        chunk, credit = stream.take()
        self._queue(credit)
        return chunk

    def give(self, stream: Outgoing, data: bytes | memoryview) -> int:
        """Queue as much of `data` as there is room for; returns how much."""
        accepted, data_frames = stream.give(data)
        self._bulk.extend(frames.encode(frame) for frame in data_frames)
        return accepted

    def stop(self, stream: Incoming) -> None:
        """Want no more of a stream."""
        self._queue(stream.stop())

    def end(self, stream: Outgoing) -> None:
        """End a stream, behind what was given."""
        self._bulk.extend(frames.encode(frame) for frame in stream.end())
        self._outs.pop(stream.number, None)

    def ping(self, payload: bytes) -> None:
        """Ask for a sign of life; eight bytes."""
        self._pings.append(payload)
        self._queue([Frame(frames.PING, 0, payload)])

    @property
    def outgoing(self) -> bytes:
        """The next bytes to send, empty if none. Control frames overtake data between whole frames."""
        queue = self._urgent or self._bulk
        return queue[0] if queue else b""

    def sent(self, count: int) -> None:
        """So many bytes of `outgoing` are on their way. The rest of a cut frame comes next, before anything else."""
        queue = self._urgent or self._bulk
        head = queue.popleft()
        if count < len(head):
            self._urgent.appendleft(head[count:])

    # what the guest does

    def feed(self, data: bytes) -> list[Happening]:
        """Take what came from the guest. Raises ProtocolViolation, after which the link is dead."""
        return [
            happening for frame in self._decoder.feed(data) if (happening := self._act(frame)) is not None
        ]

    def _act(self, frame: Frame) -> Happening | None:
        if (frame.kind == frames.HELLO) == self._greeted:
            raise ProtocolViolation("out-of-order", "hello is the first frame and comes once")
        act = _ACTIONS.get(frame.kind)
        if act is None:
            raise ProtocolViolation("bad-kind", f"a guest may not send frames of kind {frame.kind}")
        return act(self, frame)

    def _hello(self, frame: Frame) -> Happening:
        self._greeted = True
        hello = codec.decode(Hello, frame.payload)
        if hello.version != frames.VERSION:
            raise ProtocolViolation(
                "version", f"the agent speaks {hello.version}, this host {frames.VERSION}"
            )
        return Greeted(hello)

    def _answer(self, frame: Frame) -> Happening:
        method = self._requests.pop(frame.id, None)
        if method is None:
            raise ProtocolViolation("no-such-request", f"an answer to {frame.id}")
        if frame.kind == frames.FAILURE:
            return Answered(frame.id, RequestFailed(method, *codec.decode_failure(frame.payload)))
        return Answered(frame.id, codec.decode(METHODS[method][1], frame.payload))

    def _event(self, frame: Frame) -> Happening:
        self._events += 1
        if frame.id != self._events:
            raise ProtocolViolation("out-of-order", f"event {frame.id}, expected {self._events}")
        return Told(codec.decode_event(frame.payload))

    def _data(self, frame: Frame) -> Happening:
        self._in(frame).arrive(frame.payload)
        return Moved(frame.id)

    def _ended(self, frame: Frame) -> Happening:
        self._in(frame).closed = True
        del self._ins[frame.id]
        return Moved(frame.id)

    def _credit(self, frame: Frame) -> Happening | None:
        stream = self._out(frame)
        if stream is None:
            return None
        if len(frame.payload) != frames.CREDIT_BYTES.size:
            raise ProtocolViolation("bad-header", f"credit of {len(frame.payload)} bytes")
        stream.credit(frames.CREDIT_BYTES.unpack(frame.payload)[0])
        return Moved(frame.id)

    def _stopped(self, frame: Frame) -> Happening | None:
        stream = self._out(frame)
        if stream is None:
            return None
        stream.broken = True
        self.end(stream)
        return Moved(frame.id)

    def _pong(self, frame: Frame) -> Happening:
        if not self._pings or frame.payload != self._pings.popleft():
            raise ProtocolViolation("bad-pong", "not the bytes that were sent")
        return Ponged()

    def _in(self, frame: Frame) -> Incoming:
        stream = self._ins.get(frame.id)
        if stream is None:
            raise ProtocolViolation("no-such-stream", f"{frame.id} is not open towards the host")
        return stream

    def _out(self, frame: Frame) -> Outgoing | None:
        """The stream that the guest reads; None for one that we have ended while its credit was under way."""
        stream = self._outs.get(frame.id)
        if stream is None and (frame.id % 2 or not 0 < frame.id < self._next_out):
            raise ProtocolViolation("no-such-stream", f"{frame.id} was never open towards the guest")
        return stream

    def _check_room(self, what: str) -> None:
        if len(self._ins) + len(self._outs) >= frames.MAX_STREAMS:
            raise RequestFailed(what, "busy", f"{frames.MAX_STREAMS} streams are open")

    def _queue(self, control: list[Frame]) -> None:
        self._urgent.extend(frames.encode(frame) for frame in control)


_ACTIONS = {
    frames.HELLO: Link._hello,
    frames.ANSWER: Link._answer,
    frames.FAILURE: Link._answer,
    frames.EVENT: Link._event,
    frames.DATA: Link._data,
    frames.END: Link._ended,
    frames.CREDIT: Link._credit,
    frames.STOP: Link._stopped,
    frames.PONG: Link._pong,
}
