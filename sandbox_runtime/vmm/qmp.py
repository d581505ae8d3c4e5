"""A client of QEMU's monitor (QMP): commands with ids, events aside, and no trust in the other end.

A guest may have taken QEMU over, so a message has a bounded length, the queue of events a bounded size, and anything
that is not what was asked for is a `QmpFailed`, never a hang or a crash of ours. Commands may be sent ahead of their
answers (`send`, then `answer`), which is how a restore asks for everything in one round trip.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from sandbox_runtime.errors import QmpFailed

MESSAGE_LIMIT = 1 << 20  # the largest answer that we ask for (block statistics of 24 disks) is some 30 KiB
EVENT_LIMIT = 256
WAITING_LIMIT = 64
ANSWER_SECONDS = 10.0
NOTHING: Mapping[str, object] = {}


class Qmp:
    """One monitor connection; for a single thread. The socket may sit in a selector: see `fileno`, `take_events`.

    Attributes:
        events: those not yet taken, oldest first; at most 256, older ones are dropped.
        dropped_events: how many were.
    """

    __slots__ = ("_answers", "_buffer", "_closed", "_next", "_socket", "dropped_events", "events")

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.setblocking(False)
        self._buffer = bytearray()
        self._answers: dict[int, dict[str, Any] | None] = {}
        self._next = 0
        self._closed = ""
        self.events: deque[dict[str, Any]] = deque()
        self.dropped_events = 0
        self.send("qmp_capabilities")

    def fileno(self) -> int:
        """The descriptor to wait on; -1 when the connection is closed."""
        return self._socket.fileno()

    @property
    def closed(self) -> str:
        """Why the connection is of no use any more; empty while it is."""
        return self._closed

    def command(self, name: str, /, timeout: float = ANSWER_SECONDS, **arguments: object) -> Any:
        """What `name` returns. Raises QmpFailed on an error, on junk, and after `timeout` seconds.

        Keywords are the command's arguments, `_` standing for `-`, as QMP has it in all names that we use.
        """
        named = {key.replace("_", "-"): value for key, value in arguments.items()}
        return self.answer(self.send(name, named), name, timeout)

    def send(self, name: str, arguments: Mapping[str, object] = NOTHING) -> int:
        """Send without waiting; the number is what `answer` asks for."""
        return self._send(name, arguments, None)

    def send_fd(self, fd: int, set_number: int) -> int:
        """Give QEMU a copy of `fd` as `/dev/fdset/<set_number>`; the caller keeps and closes its own."""
        return self._send("add-fd", {"fdset-id": set_number}, fd)

    def name_fd(self, fd: int, name: str) -> None:
        """Give QEMU a copy of `fd` under `name`, for commands that take `fd:<name>`."""
        self.answer(self._send("getfd", {"fdname": name}, fd), "getfd")

    def answer(self, number: int, name: str, timeout: float = ANSWER_SECONDS) -> Any:
        """The `return` of command `number`."""
        deadline = time.monotonic() + timeout
        while self._answers.get(number) is None:
            if self._closed:
                raise QmpFailed(name, self._closed)
            left = deadline - time.monotonic()
            if left <= 0 or not _readable(self._socket, left):
                raise QmpFailed(name, f"no answer in {timeout:g} s")
            self._read()
        reply = self._answers.pop(number)
        if reply is None or "return" not in reply:
            raise QmpFailed(name, _error_of(reply))
        return reply["return"]

    def take_events(self) -> list[dict[str, Any]]:
        """All events that have arrived, without waiting."""
        while not self._closed and _readable(self._socket, 0):
            self._read()
        taken = list(self.events)
        self.events.clear()
        return taken

    def wait_event(self, names: frozenset[str], timeout: float, device: str = "") -> dict[str, Any]:
        """The next event of one of `names`, about `device` where one is given; all others stay for `take_events`.

        QmpFailed after `timeout` seconds.
        """
        what = " or ".join(sorted(names))
        deadline = time.monotonic() + timeout
        while True:
            for event in self.events:
                if event.get("event") in names and device in ("", _data(event).get("device")):
                    self.events.remove(event)
                    return event
            if self._closed:
                raise QmpFailed(what, self._closed)
            left = deadline - time.monotonic()
            if left <= 0 or not _readable(self._socket, left):
                raise QmpFailed(what, f"did not happen in {timeout:g} s")
            self._read()

    def close(self) -> None:
        """Close the connection; QEMU goes on."""
        self._closed = self._closed or "closed"
        self._socket.close()

    # --- wire -----------------------------------------------------------------------------------------------

    def _send(self, name: str, arguments: Mapping[str, object], fd: int | None) -> int:
        if self._closed:
            raise QmpFailed(name, self._closed)
        if len(self._answers) >= WAITING_LIMIT:
            raise QmpFailed(name, f"{WAITING_LIMIT} commands wait for their answers")
        self._next += 1
        message: dict[str, object] = {"execute": name, "id": self._next}
        if arguments:
            message["arguments"] = dict(arguments)
        data = json.dumps(message).encode() + b"\n"
        self._answers[self._next] = None
        self._write(name, data, fd)
        return self._next

    def _write(self, name: str, data: bytes, fd: int | None) -> None:
        """A QEMU that does not read is given up after the usual time."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while data:
            try:
                fds = [fd] if fd is not None else []
                sent = socket.send_fds(self._socket, [data], fds) if fds else self._socket.send(data)
                data, fd = data[sent:], None
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([], [self._socket], [], left)[1]:
                    raise QmpFailed(name, "the monitor does not read") from None
            except OSError as error:
                self._closed = self._closed or f"connection lost: {error.strerror}"
                raise QmpFailed(name, self._closed) from error

    def _read(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            self._closed = f"connection lost: {error.strerror}"
            return
        if not data:
            self._closed = "the monitor closed the connection"
            return
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = bytearray(rest)
        for line in lines:
            self._take(bytes(line))
        if len(self._buffer) > MESSAGE_LIMIT:
            self._junk(f"a message of more than {MESSAGE_LIMIT} bytes")

    def _take(self, line: bytes) -> None:
        if not line.strip() or self._closed:
            return
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self._junk("junk instead of a JSON object")
        elif "event" in message:
            if len(self.events) >= EVENT_LIMIT:
                self.events.popleft()
                self.dropped_events += 1
            self.events.append(message)
        elif "QMP" not in message:
            self._match(message)

    def _match(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        if type(number) is int and number in self._answers:
            self._answers[number] = message
        elif "error" in message and number is None:
            self._junk(f"an error without an id: {_error_of(message)}")

    def _junk(self, what: str) -> None:
        """Nothing after it can be trusted to be an answer."""
        self._closed = f"the monitor sent {what}"
        self._buffer.clear()


def connect(path: str) -> Qmp:
    """A client on the unix socket at `path`. QmpFailed where nobody listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise QmpFailed("connect", f"{path}: {error.strerror}") from error
    return Qmp(connection)


def _readable(connection: socket.socket, seconds: float) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(max(0, seconds * 1000)))


def _data(event: dict[str, Any]) -> dict[str, Any]:
    data = event.get("data")
    return data if isinstance(data, dict) else {}


def _error_of(reply: dict[str, Any] | None) -> str:
    error = (reply or {}).get("error")
    text = error.get("desc", error) if isinstance(error, dict) else reply
    return f"{text!s:.300}"
