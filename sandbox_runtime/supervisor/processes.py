"""The processes of the guest as the host sees them: what they write goes to the log and to clients, then they end.

Nobody blocks anybody: the log is a file; a client that is `patient` (the one in the foreground, an exec) holds the
process back when it does not read, as a pipe would; any other that falls behind is let go of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sandbox_runtime.channel import Channel, Reader, Writer
from sandbox_runtime.protocol.messages import Stdio
from sandbox_runtime.supervisor.frames import WINDOW, Kind
from sandbox_runtime.supervisor.logs import Log

STREAMS = {Kind.STDOUT: "stdout", Kind.STDERR: "stderr"}


class Client(Protocol):
    """Somebody who listens to a process."""

    patient: bool

    @property
    def congested(self) -> bool:
        """Whether it has not read what it was given."""

    def give(self, kind: Kind, data: bytes) -> None:
        """Bytes that the process wrote."""

    def credit(self, count: int) -> None:
        """So many more bytes of stdin may come."""

    def too_slow(self) -> None:
        """It is let go of."""


class Process:
    """One process: a container's first one (`exec_id` empty), or an exec."""

    def __init__(
        self,
        channel: Channel,
        container: str,
        exec_id: str,
        tty: bool,
        stdin: bool,
        size: tuple[int, int] = (0, 0),
        log: Log | None = None,
    ) -> None:
        self.container, self.exec_id, self.tty, self.log = container, exec_id, tty, log
        self.clients: list[Client] = []
        self.code: int | None = None  # as soon as the guest has said it
        self.over = False  # ended, and all it wrote was passed on
        self.on_drained: Callable[[], None] = lambda: None
        self._stdin: Writer | None = channel.writer() if stdin else None
        self._waiting = bytearray()  # of stdin, at most WINDOW
        self._ending = False
        self._readers: dict[Kind, Reader] = {Kind.STDOUT: channel.reader()}
        if not tty:
            self._readers[Kind.STDERR] = channel.reader()
        for reader in self._readers.values():
            reader.on_move = self.move
        if self._stdin is not None:
            self._stdin.on_move = self._feed
        self.stdio = Stdio(
            self._stdin.number if self._stdin else 0,
            self._readers[Kind.STDOUT].number,
            self._readers[Kind.STDERR].number if not tty else 0,
            tty,
            *size,
        )

    # --- what it writes -------------------------------------------------------------------------------------

    @property
    def drained(self) -> bool:
        """Whether all that it wrote has arrived and was passed on."""
        return all(reader.ended for reader in self._readers.values())

    def move(self) -> None:
        """Pass on what is there, as far as patient clients take it."""
        for kind, reader in self._readers.items():
            while not self._held_back() and (data := reader.take()):
                self._pass_on(kind, data)
        if self.code is not None and self.drained:
            self.on_drained()

    def _held_back(self) -> bool:
        return any(client.patient and client.congested for client in self.clients)

    def _pass_on(self, kind: Kind, data: bytes) -> None:
        if self.log is not None:
            self.log.write(STREAMS[kind], data)
        for client in tuple(self.clients):
            if client.congested:  # not a patient one: those were asked before
                self.clients.remove(client)
                client.too_slow()
            else:
                client.give(kind, data)

    def leave(self, client: Client) -> None:
        """A client goes; whom it held back goes on."""
        if client in self.clients:
            self.clients.remove(client)
            self.move()

    def abandon(self) -> None:
        """Want no more of what it writes: somebody else, in the guest, holds its streams open."""
        for reader in self._readers.values():
            reader.stop()
            reader.stream.closed = True
        self.move()

    # --- what it reads --------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Bytes for its stdin; a client never sends more than it has credit for."""
        if self._stdin is not None and not self._ending and len(self._waiting) + len(data) <= 2 * WINDOW:
            self._waiting += data
            self._feed()

    def end_input(self) -> None:
        """End of its stdin, behind what was written."""
        self._ending = True
        self._feed()

    def _feed(self) -> None:
        stdin = self._stdin
        if stdin is None:
            return
        accepted = stdin.give(bytes(self._waiting)) if self._waiting else 0
        if stdin.broken:
            accepted = len(self._waiting)
        del self._waiting[:accepted]
        if accepted:
            for client in self.clients:
                client.credit(accepted)
        if self._ending and not self._waiting and not stdin.broken:
            self._stdin = None
            stdin.end()
