"""How a sandbox that could not do what it was asked says so."""

from __future__ import annotations

from sandbox_runtime.protocol.errors import RequestFailed


class Interrupted(BaseException):
    """A signal asked for the end while something slow was under way."""


def failure_code(error: Exception) -> int:
    """What `docker run` would exit with: 127 no such command, 126 it cannot be run, 125 everything else."""
    if isinstance(error, RequestFailed) and error.code == "start-failed":
        text = error.message.lower()
        if "not found" in text or "no such file" in text:
            return 127
        if "permission denied" in text or "exec format" in text or "is a directory" in text:
            return 126
    return 125
