"""The cluster state: events that cannot be, snapshots that leave the original alone, corruption that is found."""

from __future__ import annotations

import pytest

from scheduler.errors import StateConflict, StateCorrupt
from scheduler.model import Gpu, Placed
from scheduler.placement.events import Event, NodeJoined, NodeLeft, PodLeft, PodPlaced
from scheduler.placement.state import ClusterState
from tests.support.cluster import make_cycle, make_node, make_shape, put

HALF_GPU = make_shape(gpu=Gpu(1, 500))


def state_with_a_pod() -> ClusterState:
    state = ClusterState([make_node("a", gpus=2), make_node("b")])
    state.apply(PodPlaced(HALF_GPU, Placed("pod", "a", (1,))))
    return state


IMPOSSIBLE = [
    pytest.param(PodPlaced(HALF_GPU, Placed("pod", "b")), id="a pod that stands somewhere already"),
    pytest.param(PodPlaced(HALF_GPU, Placed("new", "nowhere")), id="an unknown node"),
    pytest.param(PodPlaced(HALF_GPU, Placed("new", "a", (2,))), id="a device the cluster does not have"),
    pytest.param(PodLeft("stranger"), id="a pod that stands nowhere leaves"),
    pytest.param(NodeJoined(make_node("a")), id="a node joins twice"),
    pytest.param(NodeJoined(make_node("c", gpus=9)), id="a node with more devices than there is room for"),
    pytest.param(NodeLeft("nowhere"), id="an unknown node leaves"),
    pytest.param(NodeLeft("a"), id="a node leaves with pods on it"),
]


@pytest.mark.parametrize("event", IMPOSSIBLE)
def test_an_event_that_cannot_be_is_refused_and_changes_nothing(event: Event) -> None:
    state = state_with_a_pod()
    with pytest.raises(StateConflict):
        state.apply(event)
    state.verify()
    assert set(state.pods) == {"pod"}
    assert set(state.number_of) == {"a", "b"}


def test_a_pod_that_leaves_gives_back_exactly_what_it_held() -> None:
    empty = ClusterState([make_node("a", gpus=2), make_node("b")])
    state = state_with_a_pod()
    state.apply(PodLeft("pod"))
    assert (state.free == empty.free).all()
    assert (state.gpu_free == empty.gpu_free).all()
    state.verify()


def test_decisions_tried_on_a_snapshot_leave_the_original_as_it_is() -> None:
    state = state_with_a_pod()
    before = state.free.copy()
    copy = state.snapshot()
    copy.apply(PodPlaced(HALF_GPU, Placed("other", "a", (0,))))
    copy.apply(PodLeft("pod"))
    assert (state.free == before).all()
    assert set(state.pods) == {"pod"}
    state.verify()
    copy.verify()


@pytest.mark.parametrize("array", ["free", "gpu_free"])
def test_verify_names_an_array_that_disagrees_with_the_pods(array: str) -> None:
    state = state_with_a_pod()
    getattr(state, array)[0, 0] -= 1
    with pytest.raises(StateCorrupt, match="node a"):
        state.verify()


def test_nodes_of_equal_state_are_one_class_and_part_when_they_differ() -> None:
    cycle = make_cycle(*(make_node(f"n{number}") for number in range(10)))
    assert len(cycle.state.classes) == 1
    put(cycle, "pod", make_shape())
    assert len(cycle.state.classes) == 2


def test_a_node_that_joins_later_is_used_and_one_that_left_is_not() -> None:
    cycle = make_cycle(make_node("small", cpu=100))
    assert put(cycle, "one", make_shape()) == "InsufficientCPU"
    cycle.state.apply(NodeJoined(make_node("late")))
    assert put(cycle, "two", make_shape()) == "late"
    cycle.state.apply(PodLeft("two"))
    cycle.state.apply(NodeLeft("late"))
    assert put(cycle, "three", make_shape()) == "InsufficientCPU"


def test_a_full_node_takes_the_pod_once_another_left() -> None:
    cycle = make_cycle(make_node("only", cpu=1000))
    put(cycle, "first", make_shape())
    assert put(cycle, "second", make_shape()) == "InsufficientCPU"
    cycle.state.apply(PodLeft("first"))
    assert put(cycle, "second", make_shape()) == "only"


def test_many_pods_at_once_leave_the_state_that_one_by_one_leaves() -> None:
    nodes = [make_node(f"n{number}") for number in range(4)]
    single, many = ClusterState(nodes), ClusterState(nodes)
    with many.at_once():
        for state in (single, many):
            for number in range(12):
                placed = Placed(f"p{number}", f"n{number % 4}", ())
                state.apply(PodPlaced(make_shape(cpu=100 * (1 + number % 3)), placed))
            state.apply(PodLeft("p3"))
    many.verify()
    assert (many.free == single.free).all()
    assert len(many.classes) == len(single.classes)
