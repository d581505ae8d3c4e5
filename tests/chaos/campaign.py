"""One scenario, so many times, on a world that works meanwhile; what it took."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.chaos.faults import SCENARIOS, Scenario
from tests.chaos.world import World

ROUNDS: Final = int(os.environ.get("BULKHEAD_CHAOS_ROUNDS", "2"))
FULL: Final = 20
SETTLE_EVERY: Final = 5
WORK_S: Final = 2.0


class Report(NamedTuple):
    """Seconds until new pods were bound again, and until everything was in order, over the rounds of one scenario."""

    name: str
    recovery: list[float]
    settled: list[float]
    binds: int

    def __str__(self) -> str:
        recovery, settled = self.recovery, self.settled
        return (
            f"{self.name:26} {len(recovery):3} rounds, recovery median {statistics.median(recovery):5.1f} s "
            f"max {max(recovery):5.1f} s; in order after {statistics.median(settled):5.1f} s "
            f"max {max(settled):5.1f} s; {self.binds:6,} bindings judged"
        )


def run(world: World, name: str, rounds: int) -> Report:
    """Raises AssertionError or ControlPlaneBroken where a rule was broken or something never came back."""
    scenario = SCENARIOS[name]
    before = world.judge.binds
    with disk(world, scenario):
        world.use(scenario.store, scenario.replicas)
        recovery, settled = [], []
        for number in range(1, rounds + 1):
            time.sleep(WORK_S)
            recovery.append(scenario.fault(world))
            world.hold()
            if number % SETTLE_EVERY == 0 or number == rounds:
                settled.append(world.settle())
        world.retire()
    return Report(name, recovery, settled, world.judge.binds - before)


@contextlib.contextmanager
def disk(world: World, scenario: Scenario) -> Iterator[None]:
    """A small file system for the store where the scenario wants one."""
    world.place = None
    if not scenario.disk_mib:
        yield
        return
    place = world.directory / "disk"
    place.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={scenario.disk_mib}m", "tmpfs", str(place)]
    made = subprocess.run(argv, capture_output=True, text=True, check=False)
    if made.returncode:
        raise CannotHappenHere(f"a file system of its own cannot be mounted here: {made.stderr.strip()}")
    world.place = place
    try:
        yield
    finally:
        world.retire()
        subprocess.run(["umount", str(place)], check=True)
        place.rmdir()
        assert str(place) not in Path("/proc/mounts").read_text()


class CannotHappenHere(Exception):
    """This machine does not let a scenario happen; says why."""
