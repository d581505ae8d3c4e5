"""The independent judge of packings: each way to be wrong is planted and must be found."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmarks.packing.check import contradictions, violations
from benchmarks.packing.vbp import Known
from tests.support.packing import make_published

INSTANCE = make_published([[60, 10], [40, 90], [50, 0], [50, 0]], [100, 100])
RIGHT: Sequence[Sequence[int]] = [(0, 1), (2, 3)]

PLANTED = [
    pytest.param([(0, 1), (2,)], ["item 3 is in 0 bins"], id="an item is missing"),
    pytest.param([(0, 1), (2, 3), (3,)], ["item 3 is in 2 bins"], id="an item is in two bins"),
    pytest.param(
        [(0, 1), (2, 2, 3)],
        ["item 2 is in 2 bins", "bin 1 holds 150 of 100 in dimension 0"],
        id="an item is twice in a bin",
    ),
    pytest.param([(0, 2), (1, 3)], ["bin 0 holds 110 of 100 in dimension 0"], id="overfull in one dimension"),
    pytest.param([(0,), (1, 2), (3,), ()], ["bin 3 is empty"], id="an empty bin"),
    pytest.param([(0, 1), (2, 3), (4,)], ["item 4 does not exist"], id="an item that does not exist"),
]


def test_a_right_packing_has_no_violations() -> None:
    assert violations(INSTANCE, RIGHT) == []


@pytest.mark.parametrize(("bins", "want_found"), PLANTED)
def test_every_planted_violation_is_found(bins: Sequence[Sequence[int]], want_found: list[str]) -> None:
    assert violations(INSTANCE, bins) == want_found


CONTRADICTIONS = [
    pytest.param(Known(5, None, 8), 7, 6, [], id="between the bounds"),
    pytest.param(
        Known(5, 7, 8), 6, 5, ["6 bins are fewer than the published bound of 7"], id="better than the optimum"
    ),
    pytest.param(
        Known(5, None, 8),
        9,
        9,
        ["a lower bound of 9 is above a published packing of 8 bins"],
        id="a bound too high",
    ),
]


@pytest.mark.parametrize(("known", "bins", "lower_bound", "want_found"), CONTRADICTIONS)
def test_a_result_that_contradicts_published_bounds_is_reported(
    known: Known, bins: int, lower_bound: int, want_found: list[str]
) -> None:
    assert contradictions(known, bins, lower_bound) == want_found
