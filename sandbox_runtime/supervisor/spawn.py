"""Starts a supervisor as a process of its own, in its own session, and listens to its birth."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sandbox_runtime.paths import Paths

ROOT = Path(__file__).resolve().parents[2]
ENTRY = "from sandbox_runtime.supervisor.main import start; start(sys.argv[1:])"
PROGRAM = f"import sys; sys.path[:0] = [{str(ROOT)!r}]; {ENTRY}"  # without `site`: 10 ms and 3 MiB less
LOG = "supervisor.log"
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


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
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-c", PROGRAM, *words],
            ENVIRONMENT,
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
