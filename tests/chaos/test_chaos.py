"""Every fault of `faults`, a few times each. BULKHEAD_CHAOS_ROUNDS=20 or `python -m tests.chaos` is the full length."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.campaign import FULL, ROUNDS, CannotHappenHere, run
from tests.chaos.faults import SCENARIOS
from tests.chaos.world import World

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("chaos"), pytest.mark.timeout(180 * ROUNDS)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("chaos") / "world"
    with World(directory, lease_s=15 if ROUNDS >= FULL else 4, outage_s=30 if ROUNDS >= FULL else 4) as one:
        yield one


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_over_admitted_leaked_or_lost(world: World, name: str) -> None:
    if "clock" in name and not world.settable_clock:
        pytest.skip("no C compiler, so no process can have a clock of its own")
    try:
        print(run(world, name, ROUNDS))  # noqa: T201 - the figures
    except CannotHappenHere as error:
        pytest.skip(str(error))
