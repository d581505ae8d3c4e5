"""The control socket: commands talk to a running sandbox here. Mode 0600, and the peer must be its owner or root."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandbox_runtime import oci
from sandbox_runtime.errors import SandboxError
from sandbox_runtime.lifecycle.state import Status, Verdict
from sandbox_runtime.protocol.errors import RequestFailed
from sandbox_runtime.supervisor import frames
from sandbox_runtime.supervisor.failure import failure_code
from sandbox_runtime.supervisor.frames import WINDOW, Kind
from sandbox_runtime.supervisor.loop import Loop
from sandbox_runtime.supervisor.processes import Process
from sandbox_runtime.supervisor.sandbox import Sandbox

UNREAD_BYTES = 4 << 20  # that a client may leave unread
FIRST_CLIENT_SECONDS = 60.0
LAST_WORDS_SECONDS = 10.0
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Connection:
    """One client."""

    def __init__(self, control: Control, link: socket.socket) -> None:
        self.control, self._socket = control, link
        self._socket.setblocking(False)
        self._decoder = frames.Decoder()
        self._out = bytearray()
        self._closing = False
        self.patient = False
        self.process: Process | None = None
        control.loop.watch(
            self._socket,
            self._on_readable,
            self._on_writable,
            lambda: bool(self._out),
            lambda: not self._closing,
        )

    # --- for processes --------------------------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """Whether it has not read what it was given."""
        return len(self._out) > (WINDOW if self.patient else UNREAD_BYTES)

    def give(self, kind: Kind, data: bytes) -> None:
        """Bytes that the process wrote."""
        self.send(frames.encode(kind, data))

    def credit(self, count: int) -> None:
        """So many more bytes of stdin may come."""
        self.send(frames.words(credit=count))

    def too_slow(self) -> None:
        """It is let go of."""
        self.process = None
        self.finish(error="too slow: it has not read 4 MiB of output; see the log", code=125)

    # --- wire -----------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Queue, and send what goes at once."""
        if self._socket.fileno() < 0:
            return
        self._out += data
        if len(self._out) == len(data):
            self._on_writable()

    def finish(self, **fields: Any) -> None:
        """The last frame; the connection is closed when it was sent."""
        self._closing = True
        self.send(frames.words(**fields))
        if not self._out:
            self.close()

    def close(self) -> None:
        """Go away, and hold nobody back any more."""
        if self._socket.fileno() < 0:
            return
        self.control.loop.forget(self._socket)
        self._socket.close()
        self._out.clear()
        self.control.gone(self)

    def _on_writable(self) -> None:
        try:
            while self._out:
                sent = self._socket.send(memoryview(self._out)[: 1 << 18])
                del self._out[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self._closing and not self._out:
            self.close()
        elif self.process is not None and not self.congested:
            self.process.move()

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        try:
            for kind, payload in self._decoder.feed(data):
                self.control.hear(self, kind, payload)
        except (SandboxError, KeyError, TypeError, ValueError) as error:
            self.finish(error=f"{error}", code=125)


class Control:
    """The socket and its clients."""

    def __init__(self, sandbox: Sandbox, loop: Loop, place: Path) -> None:
        self.sandbox, self.loop, self._place = sandbox, loop, place
        self._clients: list[Connection] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(place))
        place.chmod(0o600)
        self._server.listen(64)
        self._server.setblocking(False)
        self.welcomed = False
        self.figures: Callable[[Callable[[dict[str, Any]], None]], None] = lambda then: then({})
        self.cost: Callable[[], dict[str, Any]] = dict
        loop.watch(self._server, self._accept)
        sandbox.on_report = self._report

    def close(self) -> None:
        """No more clients; those that are there get their last words, for a while."""
        self.loop.forget(self._server)
        self._server.close()
        self._place.unlink(missing_ok=True)

    def farewell(self) -> None:
        """Whoever still listens learns that it is over."""
        for client in tuple(self._clients):
            client.finish(**self._end())

    @property
    def quiet(self) -> bool:
        """Whether nobody has anything left to read."""
        return not self._clients

    def gone(self, client: Connection) -> None:
        """A client went. The one in the foreground may have been the reason for a sandbox that never started."""
        if client in self._clients:
            self._clients.remove(client)
        if client.process is not None:
            client.process.leave(client)

    def _accept(self) -> None:
        try:
            link, _ = self._server.accept()
        except OSError:
            return
        size = _CREDENTIALS.size
        uid = _CREDENTIALS.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[1]
        if uid not in (0, os.geteuid()):
            link.close()
            return
        self._clients.append(Connection(self, link))

    # --- requests -------------------------------------------------------------------------------------------

    def hear(self, client: Connection, kind: Kind, payload: bytes) -> None:
        """One frame of a client."""
        process = client.process
        if kind is Kind.JSON:
            fields = frames.parse(payload)
            _OPERATIONS[str(fields.get("op"))](self, client, fields)
        elif process is not None and kind is Kind.STDIN:
            process.write(payload)
        elif process is not None and kind is Kind.STDIN_END:
            process.end_input()

    def _state(self, client: Connection, fields: dict[str, Any]) -> None:
        client.finish(**self.sandbox.outcome())

    def _attach(self, client: Connection, fields: dict[str, Any]) -> None:
        """`start`: this is the client in the foreground, for which the container waited."""
        main = self.sandbox.state.main
        process = self.sandbox.running.processes.get((main, ""))
        if process is None:
            client.finish(error="the container has ended", **self._end())
            return
        client.patient = bool(fields.get("start"))
        client.process = process
        process.clients.append(client)
        client.send(frames.words(ok=True, tty=process.tty))
        if fields.get("start"):
            self.welcomed = True
            self.sandbox.start(main)

    def _exec(self, client: Connection, fields: dict[str, Any]) -> None:
        main = self.sandbox.state.container(self.sandbox.state.main)
        if main is None or main.status is not Status.RUNNING:
            client.finish(error="the container does not run", code=125)
            return
        user = oci.by_number(str(fields["user"])) if fields.get("user") else None
        if fields.get("user") and user is None:
            client.finish(error=f"exec takes users by number, not {fields['user']!r}", code=125)
            return
        client.patient = True

        def answered(answer: Any) -> None:
            if isinstance(answer, RequestFailed):
                client.process = None
                client.finish(error=str(answer), code=failure_code(answer))
            else:
                client.send(frames.words(ok=True))

        process = self.sandbox.running.exec(
            main.id,
            [str(word) for word in fields["argv"]],
            [str(line) for line in fields.get("env", ())],
            str(fields.get("cwd", "")),
            user,
            (bool(fields.get("tty")), bool(fields.get("stdin")), *_size(fields)),
            answered,
        )
        client.process = process
        process.clients.append(client)

    def _resize(self, client: Connection, fields: dict[str, Any]) -> None:
        if client.process is not None and client.process.tty:
            self.sandbox.running.resize(client.process, *_size(fields))

    def _kill(self, client: Connection, fields: dict[str, Any]) -> None:
        """On a connection with a process: that one. Otherwise the container's first, or all of it."""
        number = int(fields["signal"])
        if not 0 < number < signal.NSIG:
            raise ValueError(f"no signal {number}")
        if client.process is not None:
            self.sandbox.running.signal(client.process.container, client.process.exec_id, number, False)
            return
        self.sandbox.running.signal(self.sandbox.state.main, "", number, bool(fields.get("all")))
        client.finish(ok=True)

    def _stop(self, client: Connection, fields: dict[str, Any]) -> None:
        """The answer comes when it is over."""
        self.sandbox.stop()
        if fields.get("now"):
            self.sandbox.hurry()

    def _wait(self, client: Connection, fields: dict[str, Any]) -> None:
        """As `stop`, without asking for the end."""

    def _stats(self, client: Connection, fields: dict[str, Any]) -> None:
        self.figures(lambda found: client.finish(**found))

    def _overhead(self, client: Connection, fields: dict[str, Any]) -> None:
        client.finish(**self.cost())

    # --- answers --------------------------------------------------------------------------------------------

    def _report(self, container: str, exec_id: str, verdict: Verdict) -> None:
        """A client in the foreground leaves only when all is cleaned up; it gets the code now, the end later."""
        for client in tuple(self._clients):
            process = client.process
            if process is None or (process.container, process.exec_id) != (container, exec_id):
                continue
            words = frames.words(exit=verdict.code, reason=verdict.reason, why=self.sandbox.why)
            client.process = None
            if exec_id:
                client.finish(exit=verdict.code, reason=verdict.reason, why=self.sandbox.why)
            else:
                client.send(words)

    def _end(self) -> dict[str, Any]:
        found = self.sandbox.outcome()
        return {"over": True} | {key: found[key] for key in ("code", "reason", "why", "failure_code")}


def _size(fields: dict[str, Any]) -> tuple[int, int]:
    rows, columns = int(fields.get("rows", 0)), int(fields.get("columns", 0))
    return min(max(rows, 0), 65_535), min(max(columns, 0), 65_535)


_OPERATIONS: dict[str, Callable[[Control, Connection, dict[str, Any]], None]] = {
    "state": Control._state,
    "attach": Control._attach,
    "exec": Control._exec,
    "resize": Control._resize,
    "kill": Control._kill,
    "stop": Control._stop,
    "wait": Control._wait,
    "stats": Control._stats,
    "overhead": Control._overhead,
}
