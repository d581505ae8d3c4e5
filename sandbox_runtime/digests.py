"""SHA-256 of what is large. OpenSSL has it five times as fast as the interpreter, and is 3.4 MiB of a process.

A supervisor does without it (`supervisor.interpreter`): what it hashes at each start are names and a few KiB. What is
large is hashed once, and by these.
"""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash


def sha256() -> _Hash:
    """OpenSSL's, which this process maps from then on; the interpreter's own where there is none."""
    try:
        from _hashlib import openssl_sha256
    except ImportError:
        return hashlib.sha256()
    return openssl_sha256()


def apart(work: Callable[[], str]) -> str:
    """The digest that `work` returns, from a child: what it maps goes with it. OSError where the child dies."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, work().encode())
        finally:
            os._exit(0)
    os.close(writer)
    try:
        with open(reader, "rb") as said:  # noqa: PTH123 - a descriptor
            found = said.read().decode()
    finally:
        os.kill(child, signal.SIGKILL)  # after an interruption it is still at work
        os.waitpid(child, 0)
    if not found:
        raise ChildProcessError("the process that computes a digest has died")
    return found


def of_file(fd: int) -> str:
    """Of everything in a file, computed apart."""
    with open(fd, "rb", closefd=False) as file:
        file.seek(0)
        return apart(lambda: hashlib.file_digest(file, sha256).hexdigest())
