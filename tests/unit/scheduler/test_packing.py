"""Packings of instances whose optimum is known by construction, and the bounds that prove them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.packing.check import violations
from scheduler.packing import Budget, Instance, pack
from scheduler.packing.bound import volume_bound
from scheduler.packing.dive import Effort, disjoint, dive
from scheduler.packing.lp import PatternLp
from scheduler.packing.neighbourhood import fewer_bins
from scheduler.packing.pricing import deepest, price, surrogate_weights
from scheduler.packing.tight import list_full, partition
from tests.support.packing import make_budget, make_instance, make_published

Sizes = Sequence[Sequence[int]]

OPTIMA = [
    pytest.param([[100, 1]], [100, 100], 1, id="a single item"),
    pytest.param([[60, 10], [10, 60], [40, 40], [40, 40]], [100, 100], 2, id="complements meet"),
    pytest.param([[51, 1]] * 4, [100, 100], 4, id="no two items fit together, volume says three"),
    pytest.param([[34, 5]] * 6, [100, 100], 3, id="pairs where volume says three too"),
    pytest.param([[30, 0], [30, 0], [0, 90], [70, 10], [70, 0]], [100, 100], 2, id="zeros in a dimension"),
    pytest.param([[5], [5], [5], [3], [3], [3], [2], [2], [2]], [10], 3, id="one dimension, all bins full"),
    pytest.param([[0, 4], [0, 4], [0, 4]], [0, 8], 2, id="a dimension that nodes do not have"),
    pytest.param([[102 - 100, 0], [100, 5], [-2, 5]], [100, 10], 1, id="a negative size makes room"),
    pytest.param([[7, 1]] * 150, [1000, 1000], 2, id="many small equal items"),
    pytest.param([[0, 0]] * 5, [10, 10], 1, id="items of no size"),
]


@pytest.mark.parametrize(("sizes", "capacity", "want_bins"), OPTIMA)
def test_a_small_instance_is_packed_and_proven_optimal(
    sizes: Sizes, capacity: Sequence[int], want_bins: int
) -> None:
    published = make_published(sizes, capacity)
    packing = pack(make_instance(published), make_budget(), seed=1)
    assert violations(published, packing.bins) == []
    assert (len(packing.bins), packing.optimal) == (want_bins, True)


def test_nothing_to_pack_needs_no_bin() -> None:
    packing = pack(make_instance(make_published([], [10])), make_budget(), seed=1)
    assert (packing.bins, packing.lower_bound) == ((), 0)


def test_without_time_there_is_still_a_packing_of_everything() -> None:
    published = make_published(np.random.default_rng(1).integers(1, 90, (80, 3)).tolist(), [100] * 3)
    packing = pack(make_instance(published), Budget(0.0, iter(range(10**9)).__next__), seed=1)
    assert violations(published, packing.bins) == []


REFUSED = [
    pytest.param([[3, 11]], [10, 10], "item 0 is larger", id="an item larger than a bin"),
    pytest.param([[3, 3, 3]], [10, 10], "do not go with", id="a dimension too many"),
]


@pytest.mark.parametrize(("sizes", "capacity", "want_why"), REFUSED)
def test_what_no_number_of_bins_holds_is_no_instance(
    sizes: Sizes, capacity: Sequence[int], want_why: str
) -> None:
    with pytest.raises(ValueError, match=want_why):
        Instance(np.array(sizes), np.array(capacity))


def test_volume_is_rounded_up_in_the_scarcest_dimension() -> None:
    assert volume_bound(make_instance(make_published([[40, 51], [60, 50]], [100, 100]))) == 2


def random_triplets(triples: int, seed: int) -> Instance:
    """Three items at a time that fill a bin exactly in every dimension, shuffled."""
    random = np.random.default_rng(seed)
    first, second = random.integers(20, 45, (2, triples, 3))
    sizes = np.concatenate([first, second, 100 - first - second])
    return Instance(random.permutation(sizes), np.array([100] * 3))


def test_items_that_fill_bins_in_threes_are_matched_exactly() -> None:
    instance = random_triplets(40, seed=3)
    bins = partition(instance.items, list_full(instance, 40), make_budget(20.0), seed=1)
    assert bins is not None
    assert sorted(item for members in bins for item in members) == list(range(120))
    assert all((instance.sizes[list(members)].sum(axis=0) == 100).all() for members in bins)


def test_an_exact_matching_that_does_not_exist_is_not_found() -> None:
    instance = make_instance(make_published([[50], [30], [30], [90]], [100]))
    assert partition(instance.items, list_full(instance, 2), make_budget(), seed=1) is None


def test_a_bound_with_room_to_waste_is_left_to_the_other_steps() -> None:
    instance = make_instance(make_published([[50], [40], [60], [44]], [100]))
    assert list_full(instance, 2) == []


def test_pricing_finds_the_best_pattern_and_says_that_it_is_the_best() -> None:
    instance = make_instance(make_published([[50, 10], [50, 80], [40, 20], [10, 20]], [100, 100]))
    value = np.array([0.6, 0.5, 0.55, 0.3])
    found, lengths, highest = price(
        instance.sizes, instance.capacity, value, surrogate_weights(instance), deepest(instance), 1000
    )
    patterns = {
        tuple(sorted(row[:length])) for row, length in zip(found.tolist(), lengths.tolist(), strict=True)
    }
    assert (0, 2, 3) in patterns
    assert highest == pytest.approx(1.45, abs=1e-5)


def test_a_cut_pricing_search_still_tells_a_worth_that_no_pattern_exceeds() -> None:
    instance = Instance(np.random.default_rng(2).integers(5, 50, (60, 3)), np.array([100] * 3))
    weight = surrogate_weights(instance)
    *_, cut = price(instance.sizes, instance.capacity, 1.2 * weight, weight, deepest(instance), 1)
    *_, true = price(instance.sizes, instance.capacity, 1.2 * weight, weight, deepest(instance), 10**9)
    assert cut >= true


def test_the_pattern_lp_sees_what_volume_does_not() -> None:
    instance = make_instance(make_published([[51, 1]] * 4, [100, 100]))
    value, bound = PatternLp(instance, []).generate(1000, 100, make_budget())
    assert value == pytest.approx(4.0, abs=1e-4)
    assert bound == pytest.approx(4.0, abs=1e-4)


def test_a_dive_leaves_the_lp_as_it_was() -> None:
    instance = Instance(np.random.default_rng(4).integers(1, 60, (40, 2)), np.array([100, 100]))
    lp = PatternLp(instance, [])
    before, _ = lp.generate(10**6, 1000, make_budget())
    bins = dive(lp, 40, make_budget(), Effort(), np.random.default_rng(1), 0.0)
    assert bins is not None
    assert lp.generate(10**6, 1000, make_budget())[0] == pytest.approx(before)


def test_a_dive_to_an_unreachable_target_gives_up() -> None:
    lp = PatternLp(make_instance(make_published([[51, 1]] * 4, [100, 100])), [])
    assert dive(lp, 3, make_budget(), Effort(), np.random.default_rng(1), 0.0) is None


def test_a_neighbourhood_of_everything_repairs_a_wasteful_packing() -> None:
    published = make_published([[60, 10], [10, 60], [40, 40], [40, 40]], [100, 100])
    instance = make_instance(published)
    bins = fewer_bins(
        instance, [(0,), (1,), (2, 3)], 4, [], make_budget(), Effort(), np.random.default_rng(1)
    )
    assert bins is not None
    assert (violations(published, bins), len(bins)) == ([], 2)


def test_patterns_that_overlap_or_break_when_cut_become_a_packing() -> None:
    published = make_published([[60, 0], [60, 0], [-30, 0], [40, 0]], [100, 100])
    bins = disjoint(make_instance(published), [(0, 2), (1, 2), (0, 3)])
    assert violations(published, bins) == []
