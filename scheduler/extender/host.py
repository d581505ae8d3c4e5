"""A server and its connections as they see each other, whichever HTTP they speak. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from scheduler.extender.http import Limits, Request, Response, Routes

NEVER: Final = float("inf")
"""A time that does not come."""


class Caller(Protocol):
    """A connection as its server sees it."""

    def is_late(self, now: float) -> bool:
        """Whether it has run out of time."""
        ...

    def expire(self) -> None:
        """End what is late."""
        ...

    def retire(self) -> None:
        """Close as soon as what is under way is answered."""
        ...

    def abort(self) -> None:
        """Cut off."""
        ...


class Host(Protocol):
    """What a connection needs of its server."""

    routes: Routes
    limits: Limits
    draining: bool
    connections: set[Caller]
    clock: Callable[[], float]

    def left(self, connection: Caller) -> None:
        """A connection is gone."""
        ...

    def answer_to_fault(self, path: str, fault: Exception) -> Response:
        """The answer to an exception of a handler."""
        ...

    def observe(self, request: Request, status: int, began: float) -> None:
        """See one answered request."""
        ...
