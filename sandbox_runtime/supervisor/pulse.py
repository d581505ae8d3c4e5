"""Whether the agent is alive: asked now and then, given up when it has said nothing for too long.

Time is counted in rounds of the loop's timer, not in differences of a clock: a supervisor that stood still (a suspended
host, a debugger) counts one round, and its guest is not blamed for it. Whatever arrives is a sign of life; an idle
channel is asked, and has no other timer, so it stays open for ever.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """Calls once, in so many seconds (`Loop`)."""

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """The call."""


class Patient(Protocol):
    """The channel: `heard` grows with all that arrives."""

    heard: int

    def ask(self, payload: bytes) -> None:
        """A ping of eight bytes; whoever lives sends them back."""


class Pulse:
    """Watches one channel from `begin` to `end`; `lost` is told in words, once.

    `every` seconds it looks, and asks where nothing has come since the last look; after `limit` seconds without
    anything, in whole rounds, the agent is lost. 0 for either: it is never asked.
    """

    def __init__(
        self, timer: Timer, channel: Patient, every: float, limit: float, lost: Callable[[str], None]
    ) -> None:
        self._timer, self._channel, self._lost = timer, channel, lost
        self._every = every
        self._rounds = math.ceil(limit / every) if every > 0 and limit > 0 else 0
        self._heard, self._silent, self._over = channel.heard, 0, not self._rounds

    def begin(self) -> None:
        """From now on."""
        if not self._over:
            self._timer.later(self._every, self._look)

    def end(self) -> None:
        """No more."""
        self._over = True

    def _look(self) -> None:
        if self._over:
            return
        heard = self._channel.heard
        self._silent = 0 if heard != self._heard else self._silent + 1
        self._heard = heard
        if self._silent > self._rounds:  # the first silent round is before the question
            self._over = True
            self._lost(f"the guest's agent has not answered for {self._rounds * self._every:g} s")
            return
        if self._silent == 1:
            self._channel.ask(os.urandom(8))
        self._timer.later(self._every, self._look)
