"""Outlives a supervisor that is killed, and has its sandbox cleaned up at once.

A shell that reads from a pipe whose other end only the supervisor has: 0.2 MiB while it waits. At the end of the file
it becomes an interpreter and does for this sandbox what the next command on the host does for all
(`lifecycle.recover`), which stays the answer where the shell is killed too. It is nobody's child, so that the
supervisor does not wait for it, and in no group of the sandbox, which it has to empty.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sandbox_runtime.errors import SandboxError
from sandbox_runtime.lifecycle import recover
from sandbox_runtime.paths import Paths
from sandbox_runtime.supervisor import interpreter
from sandbox_runtime.vmm.processes import ended

NAME = "bulkhead-reaper"
LIFELINE = 3  # the pipe's number in the shell
SCRIPT = f"trap '' HUP INT TERM; read -r word <&{LIFELINE}; exec \"$@\""
ENTRY = "from sandbox_runtime.supervisor.reaper import clean; clean(sys.argv[1:])"
PATIENCE_SECONDS = 60.0  # a full disk or a process in a system call may be gone by then
DISMISSAL_SECONDS = 5.0


class Reaper:
    """The process that waits.

    Attributes:
        pid: of it; part of what a sandbox costs.
    """

    def __init__(self, pid: int, lifeline: int) -> None:
        self.pid, self._lifeline = pid, lifeline
        self._pidfd = os.pidfd_open(pid)

    def dismiss(self) -> None:
        """Everything is cleaned up: it goes without having done anything."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        ended(self._pidfd, DISMISSAL_SECONDS)
        os.close(self._pidfd)
        os.close(self._lifeline)


def start(paths: Paths, sandbox_id: str) -> Reaper:
    """Start one for the sandbox that this process owns. OSError where no process can be had."""
    theirs, ours = os.pipe()
    answer, says = os.pipe()
    words = interpreter.argv(ENTRY, [str(paths.run), str(paths.cache), sandbox_id, str(os.getpid())])
    child = os.fork()
    if child == 0:
        try:
            os.write(says, str(_spawn(words, theirs)).encode())
        finally:
            os._exit(0)
    for fd in (theirs, says):
        os.close(fd)
    os.waitpid(child, 0)
    with open(answer, "rb") as said:  # noqa: PTH123 - a descriptor
        return Reaper(int(said.read() or b"0"), ours)


def _spawn(words: Sequence[str], lifeline: int) -> int:
    """Everything else that is open here closes by itself."""
    files = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, lifeline, LIFELINE)]
    shell = ["/bin/sh", "-c", SCRIPT, NAME, *words]
    return os.posix_spawn(shell[0], shell, interpreter.ENVIRONMENT, file_actions=files, setsid=True)


def clean(argv: Sequence[str]) -> None:
    """What the shell becomes: cleans up until nothing is left, or patience is."""
    run, cache, sandbox_id, owner = argv
    paths = Paths(Path(run), Path(cache))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            if recover.one(paths, sandbox_id, int(owner)):
                return
        except (SandboxError, OSError) as error:
            sys.stderr.write(f"reaper: {error}\n")
            time.sleep(1)
        time.sleep(0.01)
