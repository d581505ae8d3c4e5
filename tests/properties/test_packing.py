"""Any instance: the packing is right by the independent check, and lies between the bounds."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.packing.check import violations
from benchmarks.packing.vbp import Published
from scheduler.packing import pack
from tests.support.packing import make_budget, make_instance, make_published


@st.composite
def instances(draw: st.DrawFn, most_items: int, least_size: int) -> Published:
    dimensions = draw(st.integers(1, 4))
    capacity = draw(st.lists(st.integers(5, 40), min_size=dimensions, max_size=dimensions))
    item = st.tuples(*(st.integers(least_size, room) for room in capacity))
    return make_published(draw(st.lists(item, min_size=1, max_size=most_items)), capacity)


@given(instances(most_items=40, least_size=-2), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_a_packing_is_right_and_not_below_its_own_bound(published: Published, seed: int) -> None:
    packing = pack(make_instance(published), make_budget(0.3), seed)
    assert violations(published, packing.bins) == []
    assert packing.lower_bound <= len(packing.bins)


def fewest_bins(published: Published) -> int:
    """The optimum by trying every assignment: the slow truth for a handful of items."""
    items = range(len(published.sizes))
    for bins in itertools.count(1):
        for assignment in itertools.product(range(bins), repeat=len(items)):
            held = [tuple(item for item in items if assignment[item] == number) for number in range(bins)]
            filled = [members for members in held if members]
            if not violations(published, filled):
                return len(filled)
    raise AssertionError("unreachable: one bin per item always does")


@given(instances(most_items=5, least_size=0))
@settings(deadline=None, max_examples=60)
def test_a_handful_of_items_is_packed_as_well_as_by_trying_everything(published: Published) -> None:
    packing = pack(make_instance(published), make_budget(), seed=1)
    assert len(packing.bins) == fewest_bins(published)
    assert packing.optimal
