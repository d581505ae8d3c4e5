"""The prices behind the `bulkhead` ranking, and the short cut by which the fall of a potential is found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.model import GPU_MILLI, Gpu
from scheduler.placement.arrivals import Arrival, Arrivals
from scheduler.placement.fit import capacity_reason, is_outcome, take_devices
from scheduler.placement.score.bulkhead import PriceTable, best_fall, potential
from scheduler.placement.score.cutting_stock import CuttingStock
from scheduler.placement.score.scarcity import model_prices, pressure, reservations
from scheduler.placement.score.tables import arrived, build, worth_of
from scheduler.placement.state import ClusterState
from tests.support.cluster import make_cycle, make_node, make_shape, put

MIX: Arrivals = {
    Arrival(4000, 8000, 1, 810, ()): 30,
    Arrival(2000, 4000, 1, 250, ("T4",)): 20,
    Arrival(8000, 30000, 1, GPU_MILLI, ()): 50,
    Arrival(30000, 90000, 4, GPU_MILLI, ()): 4,
    Arrival(60000, 200000, 8, GPU_MILLI, ("V100",)): 1,
    Arrival(16000, 9000, 0, 0, ()): 12,
}


def cluster() -> ClusterState:
    kinds = (("T4", 4), ("V100", 8), ("T4", 2))
    return ClusterState(
        [
            make_node(f"n{number}", cpu=64000, memory=262144, gpus=gpus, model=model)
            for number, (model, gpus) in enumerate(kinds)
        ]
    )


def price_table(mix: Arrivals) -> PriceTable:
    state = cluster()
    return build(state, mix, CuttingStock(), worth_of(state))


TABLE = price_table(MIX)
ROOMS = st.tuples(
    st.integers(0, 64000),
    st.integers(0, 262144),
    st.lists(st.sampled_from([0, 60, 190, 250, 500, 750, GPU_MILLI]), min_size=8, max_size=8),
)
REQUESTS = st.sampled_from(
    [(0, 0), (1, 190), (1, 250), (1, 810), (1, GPU_MILLI), (2, GPU_MILLI), (8, GPU_MILLI)]
)


@settings(max_examples=400, deadline=None)
@given(room=ROOMS, asked=st.tuples(st.integers(0, 32000), st.integers(0, 99000)), gpus=REQUESTS)
def test_the_best_fall_is_the_largest_difference_of_potentials(
    room: tuple[int, int, list[int]], asked: tuple[int, int], gpus: tuple[int, int]
) -> None:
    free, gpu = np.array(room[:2], np.int64), np.array(sorted(room[2]), np.int64)
    request, (count, milli), model = np.array(asked, np.int64), gpus, 1
    if capacity_reason(free, gpu, request, count, milli):
        return
    before = potential(free[0], free[1], gpu, 8, model, TABLE)
    left = free - request
    falls, after = {}, np.zeros(8, np.int64)
    for first in range(8):
        if is_outcome(gpu, count, milli, first):
            take_devices(gpu, count, milli, first, after)
            falls[first] = before - potential(left[0], left[1], after, 8, model, TABLE)
    found, chosen = best_fall(left[0], left[1], gpu, 8, model, before, count, milli, TABLE)
    assert found == pytest.approx(max(falls.values()), abs=1e-6)
    assert falls[chosen] == pytest.approx(found, abs=1e-6)


def test_a_residual_that_no_arrival_can_use_is_waste_and_one_that_fits_exactly_is_not() -> None:
    waste = CuttingStock().waste({810: 10, 250: 1, GPU_MILLI: 5})
    assert waste[190] == pytest.approx(190)
    assert waste[GPU_MILLI] == pytest.approx(0)
    assert waste[249] == pytest.approx(249)
    assert waste[250] < 250


def test_sizes_that_fill_a_gpu_together_leave_no_waste_beside_each_other() -> None:
    waste = CuttingStock().waste({600: 10, 400: 10})
    assert waste[400] + waste[600] == pytest.approx(0, abs=1e-3)


def test_a_solution_from_where_the_last_one_stood_equals_a_fresh_one() -> None:
    stock = CuttingStock()
    stock.waste({500: 7, 300: 2})
    stock.waste({500: 7, 300: 9, 810: 4})
    mix = {500: 8, 300: 9, 810: 40, 190: 40}
    again, fresh = stock.waste(mix), CuttingStock().waste(mix)
    earned = sum(count * (size - again[size]) for size, count in mix.items())
    assert earned == pytest.approx(sum(count * (size - fresh[size]) for size, count in mix.items()), rel=1e-6)


def test_nothing_has_arrived_and_nothing_is_waste() -> None:
    assert not CuttingStock().waste({}).any()


PRESSURES = [
    pytest.param(1.0, 10.0, 0.01, id="plenty is left"),
    pytest.param(5.0, 10.0, 0.25, id="half of what is left will be asked"),
    pytest.param(20.0, 10.0, 1.0, id="more will be asked than is left"),
    pytest.param(3.0, 0.0, 1.0, id="nothing is left"),
]


@pytest.mark.parametrize(("to_come", "left", "want"), PRESSURES)
def test_pressure_is_the_square_of_demand_over_supply(to_come: float, left: float, want: float) -> None:
    assert pressure(np.array([to_come]), np.array([left]))[0] == pytest.approx(want)


def test_a_model_that_pods_insist_on_is_dearer_than_one_that_nobody_names() -> None:
    state = cluster()
    prices = model_prices(state, *arrived(MIX, state.model_numbers))
    t4, v100 = state.model_numbers["T4"], state.model_numbers["V100"]
    assert prices[v100] > prices[t4] > 0
    unnamed = {Arrival(4000, 8000, 1, 810, ()): 30}
    assert not model_prices(state, *arrived(unnamed, state.model_numbers)).any()


def test_a_model_that_no_node_has_presses_on_nobody() -> None:
    state = cluster()
    prices = model_prices(state, *arrived({Arrival(1, 1, 1, 500, ("A100",)): 9}, state.model_numbers))
    assert not prices.any()


def test_only_multi_gpu_shapes_are_reserved_for_dearest_first() -> None:
    state = cluster()
    rows, price = reservations(state, *arrived(MIX, state.model_numbers))
    assert rows[:, 2].min() > 1
    assert price.tolist() == sorted(price, reverse=True)


def test_pods_for_any_model_leave_the_model_that_others_insist_on() -> None:
    nodes = [make_node(f"n{number}", gpus=2, model=model) for number, model in enumerate(["P100", "T4"] * 3)]
    cycle = make_cycle(*nodes, policy="bulkhead")
    insisting, easy = make_shape(gpu=Gpu(1, GPU_MILLI, ("P100",))), make_shape(gpu=Gpu(1, GPU_MILLI))
    for number in range(3):
        assert put(cycle, f"p{number}", insisting) in ("n0", "n2", "n4")
        assert put(cycle, f"e{number}", easy) in ("n1", "n3", "n5")
