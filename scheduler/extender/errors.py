"""What is raised when a caller's bytes cannot be understood; a refused pod is never an exception.

SchedulerError
├── BadBody           the body is no call of this verb (HTTP 400)
└── UnusableTls       a certificate or key of the server cannot be loaded
"""

from __future__ import annotations

from scheduler.errors import SchedulerError


class BadBody(SchedulerError):
    """The body is not JSON, or not of the shape that the verb takes."""


class UnusableTls(SchedulerError):
    """A certificate, key or certificate authority cannot be loaded."""
