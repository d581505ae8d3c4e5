"""Connects this process's terminal or pipes with a process in a sandbox: bytes both ways, signals, size, status."""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
import struct
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from sandbox_runtime.command.client import Client, Gone
from sandbox_runtime.supervisor import frames
from sandbox_runtime.supervisor.frames import WINDOW, Kind

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
DETACH = b"\x10\x11"  # Ctrl-P Ctrl-Q, as docker
LOST = 255


class Ended(Exception):
    """The last frame; `fields` says how."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.fields = fields


class Detached(Exception):
    """The user let go."""


class Bridge:
    """One process and us."""

    def __init__(self, client: Client, stdin: bool, terminal: bool, detachable: bool = False) -> None:
        self._client, self._terminal, self._detachable = client, terminal, detachable
        self._stdin = stdin
        self._credit = WINDOW
        self._signals, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._last = b""
        self.exit: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """Until the process has ended and all is cleaned up; returns how. An `error` field says that it never ran."""
        with self._catching(), raw(0) if self._terminal else _nothing():
            return self._until_the_end()

    def _until_the_end(self) -> dict[str, Any]:
        try:
            if self._terminal:
                self._resize()
            self._pump()
        except Ended as ended:
            return ended.fields | self.exit
        except Gone as gone:
            return self.exit or {"exit": LOST, "reason": "supervisor-died", "why": str(gone)}
        except Detached:
            return {"detached": True}

    def _pump(self) -> NoReturn:
        with selectors.DefaultSelector() as selector:
            selector.register(self._client, selectors.EVENT_READ, self._from_guest)
            selector.register(self._signals, selectors.EVENT_READ, self._signalled)
            listening = False
            while True:
                wanted = self._stdin and self._credit > 0
                if wanted and not listening and not _registered(selector, self._from_here):
                    wanted = self._listen(selector)
                if listening and not wanted:
                    selector.unregister(0)
                listening = wanted
                for key, _ in selector.select():
                    key.data()

    def _listen(self, selector: selectors.BaseSelector) -> bool:
        """A regular file is always ready and cannot be selected: it is read at once."""
        try:
            selector.register(0, selectors.EVENT_READ, self._from_here)
        except (PermissionError, ValueError):
            while self._stdin and self._credit > 0:
                self._from_here()
            return False
        return True

    def _from_here(self) -> None:
        data = os.read(0, min(self._credit, 1 << 16))
        if not data:
            self._stdin = False
            self._client.give(frames.encode(Kind.STDIN_END, b""))
            return
        if self._detachable and self._terminal and (self._last + data).endswith(DETACH):
            raise Detached
        self._last = data[-1:]
        self._credit -= len(data)
        self._client.give(frames.encode(Kind.STDIN, data))

    def _from_guest(self) -> None:
        for kind, payload in self._client.take():
            if kind in (Kind.STDOUT, Kind.STDERR):
                _write(1 if kind is Kind.STDOUT else 2, payload)
            elif kind is Kind.JSON:
                self._told(frames.parse(payload))

    def _told(self, fields: dict[str, Any]) -> None:
        if "credit" in fields:
            self._credit += int(fields["credit"])
        elif "exit" in fields:
            self.exit = fields
            self._stdin = False
            if fields.get("last"):
                raise Ended(fields)
        elif "over" in fields or "error" in fields:
            raise Ended(fields)

    # --- signals --------------------------------------------------------------------------------------------

    def _signalled(self) -> None:
        for number in os.read(self._signals, 64):
            if number == signal.SIGWINCH:
                self._resize()
            else:
                self._client.send(op="kill", signal=number)

    def _resize(self) -> None:
        rows, columns = size()
        self._client.send(op="resize", rows=rows, columns=columns)

    @contextmanager
    def _catching(self) -> Iterator[None]:
        def note(number: int, frame: FrameType | None) -> None:
            with suppress(BlockingIOError):
                os.write(self._wake, bytes([number]))

        numbers = (*FORWARDED, *((signal.SIGWINCH,) if self._terminal else ()))
        before = {number: signal.signal(number, note) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._signals)
            os.close(self._wake)


def size() -> tuple[int, int]:
    """Rows and columns of the terminal at stdin; zeroes without one."""
    try:
        rows, columns, _, _ = struct.unpack("4H", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
    except OSError:
        return 0, 0
    return rows, columns


@contextmanager
def raw(fd: int) -> Iterator[None]:
    """The terminal passes everything on, and is itself again afterwards."""
    before = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _registered(selector: selectors.BaseSelector, handler: object) -> bool:
    return any(key.data == handler for key in selector.get_map().values())


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # somebody made our stdout non-blocking: wait for it
            with selectors.DefaultSelector() as selector:
                selector.register(fd, selectors.EVENT_WRITE)
                selector.select()


def status(found: dict[str, Any]) -> int:
    """What this command exits with; says what went wrong where something did."""
    if found.get("detached"):
        return 0
    if "exit" not in found:
        why = found.get("error") or found.get("why") or found.get("reason") or "it did not start"
        print(f"bulkhead sandbox: {why}", file=sys.stderr)
        code = found.get("failure_code") or found.get("code")
        return int(code) if code else 125
    if found.get("reason") not in ("exited", None):
        words = [str(found["reason"]), *([str(found["why"])] if found.get("why") else [])]
        print(f"bulkhead sandbox: {': '.join(words)}", file=sys.stderr)
    return int(found["exit"])
