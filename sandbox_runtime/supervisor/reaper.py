"""Outlives a supervisor that is killed, and cleans up after it at once: a fork of it that does nothing but wait.

It is forked before the supervisor has anything of its own, so its memory is the supervisor's (pages are shared until
one of both writes to them), and forked twice, so that it is nobody's child and in no group that it has to empty. Where
it is killed too, the next command on the host does the same work (`lifecycle.recover`).
"""

from __future__ import annotations

import ctypes
import gc
import math
import os
import signal
import sys
import time
from contextlib import suppress

from sandbox_runtime.errors import SandboxError
from sandbox_runtime.lifecycle import recover
from sandbox_runtime.paths import Paths
from sandbox_runtime.vmm.processes import ended

NAME = b"bulkhead-reaper"
PR_SET_NAME = 15
PATIENCE_SECONDS = 60.0  # a full disk or a process in a system call may be gone by then
DISMISSAL_SECONDS = 5.0


class Reaper:
    """The process that waits.

    Attributes:
        pid: of it; part of what a sandbox costs.
    """

    def __init__(self, pid: int) -> None:
        self.pid, self._pidfd = pid, os.pidfd_open(pid)

    def dismiss(self) -> None:
        """Everything is cleaned up: it goes without having done anything."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        ended(self._pidfd, DISMISSAL_SECONDS)
        os.close(self._pidfd)


def start(paths: Paths, sandbox_id: str) -> Reaper:
    """Fork one for the sandbox that this process owns. OSError where no process can be had."""
    pid = os.getpid()
    owner = os.pidfd_open(pid)
    reader, writer = os.pipe()
    gc.freeze()  # what is there now is never looked at by a collector, which would write to every page
    child = os.fork()
    if child == 0:
        try:
            if grandchild := os.fork():
                os.write(writer, str(grandchild).encode())
            else:
                _wait(paths, sandbox_id, pid, owner)
        finally:
            os._exit(0)
    for fd in (owner, writer):
        os.close(fd)
    os.waitpid(child, 0)
    with open(reader, "rb") as said:  # noqa: PTH123 - a descriptor
        return Reaper(int(said.read() or b"0"))


def _wait(paths: Paths, sandbox_id: str, pid: int, owner: int) -> None:
    """The grandchild: keeps nothing of its parent open, least of all the lock that it is to take."""
    gc.disable()
    os.setsid()
    os.chdir("/")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_NAME, NAME, 0, 0, 0)
    os.closerange(3, owner)
    os.closerange(owner + 1, 1 << 20)
    ended(owner, math.inf)
    _clean(paths, sandbox_id, pid)


def _clean(paths: Paths, sandbox_id: str, pid: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            if recover.one(paths, sandbox_id, pid):
                return
        except (SandboxError, OSError) as error:
            sys.stderr.write(f"reaper: {error}\n")
            sys.stderr.flush()
            time.sleep(1)
        time.sleep(0.01)
