"""Starts a supervisor as a process of its own, in its own session, and listens to its birth."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

from sandbox_runtime.paths import Paths
from sandbox_runtime.supervisor import interpreter

ENTRY = (
    "from sandbox_runtime.supervisor.interpreter import without_unused; without_unused(); "
    "from sandbox_runtime.supervisor.main import start; start(sys.argv[1:])"
)
LOG = "supervisor.log"


class Born:
    """A supervisor that has been started.

    Attributes:
        pid: of the process, a child of ours.
    """

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid, self._line = pid, line

    def news(self) -> Iterator[dict[str, Any]]:
        """What it tells, until it is ready, has failed or died."""
        with self._line, self._line.makefile("rb") as lines:
            for line in lines:
                yield json.loads(line)

    def reap(self) -> None:
        """Wait for its end."""
        os.waitpid(self.pid, 0)


def start(paths: Paths, sandbox_id: str, lock: int) -> Born:
    """Start the supervisor of an order that was written; `lock` becomes its own, the caller closes its copy."""
    ours, theirs = socket.socketpair()
    said = os.open(
        paths.sandbox(sandbox_id) / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
    )
    kept = [os.dup(lock), os.dup(theirs.fileno())]
    try:
        for fd in kept:
            os.set_inheritable(fd, True)
        words = [str(paths.run), str(paths.cache), sandbox_id, *map(str, kept)]
        argv = interpreter.argv(ENTRY, words)
        pid = os.posix_spawn(
            argv[0],
            argv,
            interpreter.ENVIRONMENT,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, said, 1),
                (os.POSIX_SPAWN_DUP2, said, 2),
            ],
            setsid=True,
        )
    finally:
        theirs.close()
        for fd in (said, *kept):
            os.close(fd)
    return Born(pid, ours)
