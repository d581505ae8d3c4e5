"""The host's end of the wire on a socket: one thread, no timers of its own, ready for a selector.

Two ways to use it, which may be mixed:

- in an event loop: register `fileno()`, call `on_readable()` / `on_writable()` as `wants_write` says, and get
  callbacks: `on_event(event)`, `request(method, params, then)`, `stream.on_move`;
- blocking: `greet()`, `call(method, params)`, `reader.read()`, `writer.write_all()`; they run the same pump until what
  they wait for is there. A timeout is the caller's; an idle channel stays open for ever.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from sandbox_runtime.protocol.errors import ChannelClosed, ProtocolViolation, RequestFailed
from sandbox_runtime.protocol.link import Answered, Greeted, Link, Moved, Ponged, Told
from sandbox_runtime.protocol.messages import Hello
from sandbox_runtime.protocol.streams import Incoming, Outgoing

_READ_BYTES = 256 * 1024
_MAX_UNREAD_EVENTS = 4096


class Reader:
    """A stream from the guest: what a process writes."""

    def __init__(self, channel: Channel, stream: Incoming) -> None:
        self.channel, self.stream = channel, stream
        self.on_move: Callable[[], None] | None = None

    @property
    def number(self) -> int:
        """What a request names it by."""
        return self.stream.number

    @property
    def ended(self) -> bool:
        """Whether everything was taken and no more comes."""
        return self.stream.ended

    def take(self) -> bytes:
        """The next bytes that are here; empty if none are. Taking gives the guest credit for more."""
        return self.channel.link.take(self.stream)

    def read(self, timeout: float | None = None) -> bytes:
        """Wait for bytes; empty at the end. Raises ChannelClosed."""
        self.channel.run_until(lambda: self.stream.waiting or self.stream.ended, timeout)
        return self.take()

    def read_all(self, timeout: float | None = None) -> bytes:
        """Everything until the end; `timeout` is for each piece."""
        parts = []
        while part := self.read(timeout):
            parts.append(part)
        return b"".join(parts)

    def stop(self) -> None:
        """Want no more: the process that writes gets EPIPE."""
        self.channel.link.stop(self.stream)


class Writer:
    """A stream to the guest: what a process reads."""

    def __init__(self, channel: Channel, stream: Outgoing) -> None:
        self.channel, self.stream = channel, stream
        self.on_move: Callable[[], None] | None = None

    @property
    def number(self) -> int:
        """What a request names it by."""
        return self.stream.number

    @property
    def room(self) -> int:
        """Bytes that `give` takes now."""
        return 0 if self.stream.broken else self.stream.room

    @property
    def broken(self) -> bool:
        """Whether nobody reads any more."""
        return self.stream.broken

    def give(self, data: bytes | memoryview) -> int:
        """Queue as much as there is room for; returns how much."""
        return self.channel.link.give(self.stream, data)

    def write_all(self, data: bytes, timeout: float | None = None) -> int:
        """Wait until everything is queued, or nobody reads; returns how much was. Raises ChannelClosed."""
        rest = memoryview(data)
        while rest and not self.stream.broken:
            rest = rest[self.give(rest) :]
            if rest:
                self.channel.run_until(lambda: self.room > 0 or self.stream.broken, timeout)
        return len(data) - len(rest)

    def end(self) -> None:
        """End of file for the process that reads, behind everything given."""
        self.channel.link.end(self.stream)
        self.channel.forget(self)


class Channel:
    """One session with one guest's agent over a connected socket, which it owns."""

    def __init__(self, connection: socket.socket, take_over: bool = False) -> None:
        """`take_over`: somebody else spoke to this guest before."""
        self.link = Link(os.urandom(16), take_over)
        self.hello: Hello | None = None
        self.on_event: Callable[[Any], None] | None = None
        self.events: deque[Any] = deque()  # of a channel without `on_event`
        self.pongs = 0
        self.heard = 0  # reads that brought something
        self.beside: tuple[int, Callable[[], None]] | None = None  # (descriptor, called when it is readable)
        self._socket = connection
        self._socket.setblocking(False)
        self._then: dict[int, Callable[[Any], None]] = {}
        self._streams: dict[int, Reader | Writer] = {}
        self._why_closed = ""

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    @property
    def why_closed(self) -> str:
        """Why it is of no use any more; empty while it is."""
        return self._why_closed

    @property
    def wants_write(self) -> bool:
        """Whether there is something to send."""
        return bool(self.link.outgoing) and not self._why_closed

    def on_writable(self) -> None:
        """Send what the socket takes. Raises ChannelClosed."""
        try:
            while head := self.link.outgoing:
                self.link.sent(self._socket.send(head))
        except BlockingIOError:
            return
        except OSError as error:
            raise self._closed(f"sending: {error}") from error

    def on_readable(self) -> None:
        """Read once and act on it. Raises ChannelClosed, ProtocolViolation; both end the channel."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise self._closed(f"receiving: {error}") from error
        if not data:
            raise self._closed("the VMM closed the connection")
        self.heard += 1
        try:
            for happening in self.link.feed(data):
                self._act(happening)
        except ProtocolViolation as violation:
            self._closed(str(violation))
            raise

    def _act(self, happening: Any) -> None:
        if isinstance(happening, Moved):
            self._moved(happening.stream)
        elif isinstance(happening, Answered):
            self._then.pop(happening.request)(happening.result)
        elif isinstance(happening, Told):
            self._told(happening.event)
        elif isinstance(happening, Greeted):
            self.hello = happening.hello
        elif isinstance(happening, Ponged):
            self.pongs += 1

    def _moved(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return  # ended by an earlier callback of the same read
        if (isinstance(stream, Writer) and stream.broken) or (
            isinstance(stream, Reader) and stream.stream.closed
        ):
            self.forget(stream)
        if stream.on_move is not None:
            stream.on_move()

    def forget(self, stream: Reader | Writer) -> None:
        """Tell this stream no more."""
        self._streams.pop(stream.number, None)

    def _told(self, event: Any) -> None:
        if self.on_event is not None:
            self.on_event(event)
            return
        self.events.append(event)
        if len(self.events) > _MAX_UNREAD_EVENTS:
            raise ProtocolViolation("event-flood", f"{_MAX_UNREAD_EVENTS} events that nobody took")

    def reader(self) -> Reader:
        """A stream from the guest, to be named in a request."""
        reader = Reader(self, self.link.open_in())
        self._streams[reader.number] = reader
        return reader

    def writer(self) -> Writer:
        """A stream to the guest, to be named in a request."""
        writer = Writer(self, self.link.open_out())
        self._streams[writer.number] = writer
        return writer

    def request(self, method: str, params: Any, then: Callable[[Any], None]) -> None:
        """Ask; `then` gets the answer, or a RequestFailed as a value. Requests are carried out side by side."""
        self._then[self.link.request(method, params)] = then

    def call(self, method: str, params: Any, timeout: float | None = None) -> Any:
        """Ask and wait. Raises RequestFailed, ChannelClosed, ProtocolViolation."""
        answers: list[Any] = []
        self.request(method, params, answers.append)
        self.run_until(lambda: bool(answers), timeout, method)
        if isinstance(answers[0], RequestFailed):
            raise answers[0]
        return answers[0]

    def greet(self, timeout: float | None = None) -> Hello:
        """Wait for the agent's hello. Raises ChannelClosed, ProtocolViolation."""
        self.run_until(lambda: self.hello is not None, timeout, "hello")
        assert self.hello is not None  # noqa: S101 - run_until returned
        return self.hello

    def ping(self, timeout: float | None = None) -> None:
        """Wait for a sign of life. Raises ChannelClosed where none comes in time."""
        wanted = self.pongs + 1
        self.ask(os.urandom(8))
        self.run_until(lambda: self.pongs >= wanted, timeout, "ping")

    def ask(self, payload: bytes) -> None:
        """Ask for a sign of life by eight bytes, without waiting for it."""
        self.link.ping(payload)

    def run_until(self, done: Callable[[], bool], timeout: float | None = None, what: str = "stream") -> None:
        """Pump until `done`. Raises ChannelClosed: the connection ended, or `timeout` seconds passed."""
        end = None if timeout is None else time.monotonic() + timeout
        while not done():
            if self._why_closed:
                raise ChannelClosed(what, self._why_closed)
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:  # also where the guest says a lot, and never this
                raise ChannelClosed(what, f"no answer within {timeout:g} s")
            self._pump(left)

    def _pump(self, timeout: float | None) -> None:
        """Wait for the socket, at most `timeout` seconds, and act on it once."""
        poll = select.poll()  # not select(2), which stops at descriptor 1023
        poll.register(self, select.POLLIN | (select.POLLOUT if self.wants_write else 0))
        if self.beside is not None:
            poll.register(self.beside[0], select.POLLIN)
        ready = poll.poll(None if timeout is None else timeout * 1000)
        for fd, what in ready:
            if self.beside is not None and fd == self.beside[0]:
                self.beside[1]()
                continue
            if what & select.POLLOUT:
                self.on_writable()
            if what & ~select.POLLOUT:
                self.on_readable()

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything queued is with the kernel. Raises ChannelClosed."""
        self.run_until(lambda: not self.wants_write, timeout, "flush")

    def close(self) -> None:
        """Close the socket; what was open is over. Containers in the guest go on."""
        self._why_closed = self._why_closed or "closed by this host"
        self._socket.close()

    def _closed(self, why: str) -> ChannelClosed:
        self._why_closed = self._why_closed or why
        self._socket.close()
        return ChannelClosed("channel", why)
