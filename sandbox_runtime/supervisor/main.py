"""The supervisor as a process: `main RUN CACHE ID LOCK BIRTH`, started by `spawn` with two descriptors.

LOCK is the ownership of the sandbox, held until this process ends however it ends. BIRTH is a socket to whoever wants
the sandbox: a line for each phase of the start, then `{"ready": true}` or `{"failed": …}`; if it closes before, the
sandbox is not wanted any more.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from sandbox_runtime.errors import SandboxError
from sandbox_runtime.lifecycle import journal, recover
from sandbox_runtime.lifecycle import state as words
from sandbox_runtime.lifecycle.state import Phase
from sandbox_runtime.paths import Paths
from sandbox_runtime.supervisor import order as orders
from sandbox_runtime.supervisor.control import FIRST_CLIENT_SECONDS, LAST_WORDS_SECONDS, Control
from sandbox_runtime.supervisor.failure import Interrupted
from sandbox_runtime.supervisor.figures import Figures
from sandbox_runtime.supervisor.host import adopt_orphans
from sandbox_runtime.supervisor.loop import Loop
from sandbox_runtime.supervisor.reaper import Reaper
from sandbox_runtime.supervisor.reaper import start as start_reaper
from sandbox_runtime.supervisor.sandbox import Sandbox

RAN = ("exited", "out-of-memory")


class Birth:
    """Tells whoever wants the sandbox how its start goes."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._open = True

    def tell(self, **fields: Any) -> None:
        """One line; a listener that is gone is noticed elsewhere."""
        if self._open:
            with suppress(OSError):
                self._socket.sendall(json.dumps(fields).encode() + b"\n")

    def end(self) -> None:
        """No more lines."""
        self._open = False
        self._socket.close()


class Supervisor:
    """One sandbox from its start to its end."""

    def __init__(self, paths: Paths, order: orders.Order, birth: Birth, reaper: Reaper) -> None:
        self.paths, self.order, self.birth, self.reaper = paths, order, birth, reaper
        adopt_orphans()
        self.loop = Loop()
        self.sandbox = Sandbox(paths, order, self.loop, lambda phase: birth.tell(phase=phase))
        self.sandbox.on_finish = self._finish
        self.control = Control(self.sandbox, self.loop, self.sandbox.directory / journal.CONTROL)
        figures = Figures(self.sandbox, self.reaper.pid)
        self.control.figures, self.control.cost = figures.ask, figures.overhead
        self._signals()

    def run(self) -> None:
        """Until all is given back."""
        self.sandbox.feed(words.Begin())
        if self.sandbox.state.phase is Phase.RUNNING:
            self._born()
        self.loop.run()

    def _born(self) -> None:
        """In the background it is ready when its container runs, else when a client may come and start it."""
        if self.order.detached:
            self.sandbox.on_started = self._ready
            self.sandbox.start(self.sandbox.state.main)
        else:
            self._ready()
            self.loop.later(FIRST_CLIENT_SECONDS, self._nobody_came)

    def _ready(self) -> None:
        self.birth.tell(ready=True)
        self.birth.end()

    def _nobody_came(self) -> None:
        if not self.control.welcomed:
            self.sandbox.stop()

    def _signals(self) -> None:
        """SIGTERM and SIGINT end in order: at once where something slow is under way, else through the loop."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.loop.watch(reader, lambda: self._asked(reader))

        def asked(number: int, frame: FrameType | None) -> None:
            if self.sandbox.interruptible:
                self.sandbox.interruptible = False
                raise Interrupted
            with suppress(BlockingIOError):
                os.write(writer, b"s")

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, asked)
        signal.signal(signal.SIGCHLD, lambda number, frame: self.sandbox.on_child())

    def _asked(self, reader: int) -> None:
        os.read(reader, 512)
        self.sandbox.stop()

    def _finish(self) -> None:
        """Everything is given back. Last words go out, then this process ends."""
        outcome = self.sandbox.outcome()
        if outcome["reason"] in RAN:  # faster than the answer that it had started
            self.birth.tell(ready=True)
        self.birth.tell(failed=outcome["why"] or outcome["reason"], code=outcome["failure_code"] or 125)
        self.birth.end()
        self.control.close()
        recover.clean(self.paths, self.order.spec.id)
        if self.order.remove:
            recover.remove(self.paths, self.order.spec.id)
        self.reaper.dismiss()
        self.control.farewell()
        self.loop.later(LAST_WORDS_SECONDS, self.loop.stop)
        self._leave_when_quiet()

    def _leave_when_quiet(self) -> None:
        if self.control.quiet:
            self.loop.stop()
        else:
            self.loop.later(0.01, self._leave_when_quiet)


def main(argv: list[str]) -> int:
    """Run one supervisor."""
    run, cache, sandbox_id, lock, birth_fd = argv
    os.set_inheritable(int(lock), False)
    os.set_inheritable(int(birth_fd), False)
    paths, birth = Paths(Path(run), Path(cache)), Birth(int(birth_fd))
    try:
        reaper = start_reaper(paths, sandbox_id)
        supervisor = Supervisor(paths, orders.read(paths.sandbox(sandbox_id)), birth, reaper)
    except (SandboxError, OSError) as error:
        birth.tell(failed=str(error), code=125)
        return 1
    supervisor.run()
    return 0


def start(argv: list[str], exit_: Callable[[int], None] = sys.exit) -> None:
    """Entry of the process."""
    exit_(main(argv))
