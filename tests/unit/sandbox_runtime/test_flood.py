"""Events that tell nothing are counted by their rate."""

from __future__ import annotations

import pytest

from sandbox_runtime.protocol.errors import ProtocolViolation
from sandbox_runtime.supervisor.flood import MOST, WINDOW_SECONDS, NoNews


def test_a_flood_is_a_violation() -> None:
    seen = NoNews()
    for number in range(MOST):
        seen.count(5 + number / 1000)
    with pytest.raises(ProtocolViolation, match="event-flood"):
        seen.count(6)


def test_a_trickle_goes_on_for_ever() -> None:
    seen = NoNews()
    for number in range(20 * MOST):
        seen.count(number * 1.5 * WINDOW_SECONDS / MOST)
