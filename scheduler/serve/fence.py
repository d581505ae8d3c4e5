"""Tells when the absence of a pod from what the watch showed means something. Used by `carrier`.

A watch may be behind and not know it: half-open, cut off while the store still answers, or starved by its server. What
another replica bound meanwhile then looks like a stray in the ledger. So the API server is asked for its present
version by a read that its store's quorum confirms; once the watch has come that far, it has shown everything that was
bound before the question.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf

from scheduler.kube.errors import ApiUnavailable
from scheduler.kube.watch import Refused

Present = Callable[[], Awaitable[int]]


class Fence:
    """Asks and waits without ever blocking its caller for longer than one request.

    Args:
        present: the API server's version now; raises ApiUnavailable or Refused.
        reached: the version up to which the watch has told.
        clock: seconds that only go forward.

    Attributes:
        complete_to: what was bound before this moment has been seen; -inf until the first answer was reached.
    """

    def __init__(self, present: Present, reached: Callable[[], int], clock: Callable[[], float]) -> None:
        self._present, self._reached, self._clock = present, reached, clock
        self._asked: tuple[float, int] | None = None
        self.complete_to = -inf

    async def advance(self) -> float:
        """Ask unless an answer is still ahead of the watch; answers `complete_to`."""
        if self._asked is None:
            now = self._clock()
            try:
                self._asked = now, await self._present()
            except (ApiUnavailable, Refused):
                return self.complete_to
        asked_at, version = self._asked
        if self._reached() >= version:
            self.complete_to, self._asked = asked_at, None
        return self.complete_to
