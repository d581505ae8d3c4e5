"""Since when one caller of HTTP/2 lets us wait, and for what. Pure: the clock comes in."""

from __future__ import annotations

from collections.abc import Callable

from scheduler.extender.host import NEVER
from scheduler.extender.http import Limits


class Patience:
    """The times of one connection; all by the clock of its server, in seconds.

    Attributes:
        greeted: whether the caller has said anything that is HTTP/2.
    """

    def __init__(self, clock: Callable[[], float], limits: Limits) -> None:
        self._clock, self._limits = clock, limits
        self._heard = clock()
        self._owed_since = self._stuck_since = NEVER
        self.greeted = False

    def hear(self) -> None:
        """The caller has said something."""
        self._heard, self.greeted = self._clock(), True

    def stuck(self, *, is_stuck: bool) -> None:
        """The caller's side takes no more bytes, or does again."""
        self._stuck_since = self._clock() if is_stuck else NEVER

    def owed(self, *, is_owed: bool) -> None:
        """The windows of the caller hold an answer back, or none."""
        if not is_owed:
            self._owed_since = NEVER
        elif self._owed_since == NEVER:
            self._owed_since = self._clock()

    def has_not_greeted(self, now: float) -> bool:
        """Whether the caller had time enough to begin, and has not."""
        return not self.greeted and now - self._heard > self._limits.head_seconds

    def takes_no_answer(self, now: float) -> bool:
        """Whether an answer has waited too long for the caller to take it."""
        return now - min(self._owed_since, self._stuck_since) > self._limits.answer_seconds

    def is_idle(self, now: float) -> bool:
        """Whether the caller has said nothing for longer than a connection is kept for it."""
        return now - self._heard > self._limits.idle_seconds
