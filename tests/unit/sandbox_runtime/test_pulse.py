"""A silent agent is given up in time, a living one never, however long nobody wants anything of it."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox_runtime.supervisor.pulse import Pulse

HOUR = 3600.0


class Clock:
    """A loop's timers on a clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self.waiting.append((self.now + seconds, call))

    def turn(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((each for each in self.waiting if each[0] <= end), key=lambda each: each[0]):
            self.waiting.remove(due[0])
            self.now = due[0][0]
            due[0][1]()
        self.now = end


class Agent:
    """Answers while it lives."""

    def __init__(self) -> None:
        self.heard, self.asked, self.lives = 0, 0, True

    def ask(self, payload: bytes) -> None:
        assert len(payload) == 8
        self.asked += 1
        self.heard += self.lives


def pulse(every: float = 10, limit: float = 60) -> tuple[Clock, Agent, Pulse, list[str]]:
    clock, agent, lost = Clock(), Agent(), list[str]()
    made = Pulse(clock, agent, every, limit, lost.append)
    made.begin()
    return clock, agent, made, lost


def test_an_agent_that_nobody_wants_anything_of_for_a_week_is_still_there() -> None:
    clock, agent, _, lost = pulse()
    clock.turn(7 * 24 * HOUR)
    assert lost == []
    assert agent.asked > 0


def test_an_agent_that_speaks_is_not_asked() -> None:
    clock, agent, _, lost = pulse()
    for _ in range(100):
        agent.heard += 1
        clock.turn(10)
    assert (agent.asked, lost) == (0, [])


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 10), st.integers(0, 600))
def test_a_silent_agent_is_lost_three_rounds_after_the_limit_at_the_latest(
    every: int, rounds: int, lived: int
) -> None:
    clock, agent, _, lost = pulse(every, every * rounds)
    clock.turn(lived)
    agent.lives = False
    clock.turn(every * rounds - every / 2)
    assert lost == []
    clock.turn(3.5 * every)
    assert len(lost) == 1
    clock.turn(HOUR)
    assert len(lost) == 1


def test_nobody_is_asked_where_that_is_not_wanted_or_over() -> None:
    for every, limit in ((0, 60), (10, 0)):
        clock, agent, _, lost = pulse(every, limit)
        clock.turn(HOUR)
        assert (agent.asked, lost) == (0, [])
    clock, agent, made, lost = pulse()
    made.end()
    agent.lives = False
    clock.turn(HOUR)
    assert lost == []


def test_a_supervisor_that_stood_still_blames_nobody() -> None:
    """Its timers fire late, once each."""
    clock, agent, _, lost = pulse()
    clock.turn(15)
    clock.now += HOUR
    clock.turn(30)
    assert lost == []
    assert agent.asked > 0
