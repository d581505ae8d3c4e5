"""What is raised when a caller's bytes cannot be understood; a refused pod is never an exception.

SchedulerError
├── BadBody           the body is no call of this verb (HTTP 400)
├── BadHeaders        a header block of HTTP/2 cannot be read; the connection ends
├── BadFrames         the same of its frames
└── UnusableTls       a certificate or key of the server cannot be loaded
"""

from __future__ import annotations

from scheduler.errors import SchedulerError


class BadBody(SchedulerError):
    """The body is not JSON, or not of the shape that the verb takes."""


class BadHeaders(SchedulerError):
    """A header block is not HPACK, or too large."""


class BadFrames(SchedulerError):
    """Frames that break the protocol; `code` is what the caller is told in GOAWAY."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class UnusableTls(SchedulerError):
    """A certificate, key or certificate authority cannot be loaded."""
