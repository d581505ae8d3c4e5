"""What one decision answers: the place, or the reason with its numbers."""

from __future__ import annotations

import pytest

from scheduler.model import Gpu, Node, Placed, Pod, Refused, Shape, Spread, Taint, Toleration
from scheduler.placement.score.registry import POLICIES
from tests.support.cluster import make_cycle, make_node, make_rules, make_shape, make_tenant, put

WHOLE_GPU = Gpu(1, 1000)

REFUSALS = [
    pytest.param(make_node(cpu=500), make_shape(), "InsufficientCPU", (1000, 500), id="cpu is short"),
    pytest.param(
        make_node(memory=512), make_shape(), "InsufficientMemory", (1024, 512), id="memory is short"
    ),
    pytest.param(
        make_node(ephemeral_mib=10),
        make_shape(ephemeral_mib=11),
        "InsufficientEphemeralStorage",
        (11, 10),
        id="ephemeral storage is short",
    ),
    pytest.param(
        make_node(pods=0, fpga=1), make_shape(fpga=2), "InsufficientExtendedResource", (2, 1), id="fpga"
    ),
    pytest.param(
        make_node(), make_shape(fpga=1), "InsufficientExtendedResource", None, id="nobody has an fpga"
    ),
    pytest.param(
        make_node(gpus=1), make_shape(gpu=Gpu(2, 1000)), "InsufficientWholeGPUs", (2, 1), id="two gpus"
    ),
    pytest.param(make_node(), make_shape(gpu=Gpu(1, 300)), "InsufficientGPUFraction", (300, 0), id="no gpu"),
    pytest.param(
        make_node(gpus=1, model="T4"),
        make_shape(gpu=Gpu(1, 1000, ("V100",))),
        "GPUModelMismatch",
        None,
        id="another gpu model",
    ),
    pytest.param(make_node(unschedulable=True), make_shape(), "NodeUnschedulable", None, id="cordoned"),
    pytest.param(make_node(taints=(Taint("gpu"),)), make_shape(), "UntoleratedTaint", None, id="tainted"),
    pytest.param(
        make_node(), make_shape(selector={"disk": "ssd"}), "NodeAffinityMismatch", None, id="selector"
    ),
]


@pytest.mark.parametrize(("node", "shape", "want_reason", "want_numbers"), REFUSALS)
def test_a_refusal_names_the_reason_and_the_numbers_that_decided(
    node: Node, shape: Shape, want_reason: str, want_numbers: tuple[int, int] | None
) -> None:
    decision = make_cycle(node).decide(Pod("pod", shape))
    assert isinstance(decision, Refused)
    assert decision.reason == want_reason
    [blocker] = decision.blockers
    assert (blocker.reason, blocker.nodes) == (want_reason, 1)
    if want_numbers is not None:
        assert (blocker.asked, blocker.most) == want_numbers


def test_the_deciding_reason_is_that_of_the_nodes_that_got_furthest() -> None:
    others = [make_node(f"t4-{number}", gpus=1, model="T4") for number in range(5)]
    cycle = make_cycle(*others, make_node("v100", gpus=1, model="V100"))
    wanted = make_shape(gpu=Gpu(1, 1000, ("V100",)))
    assert put(cycle, "first", wanted) == "v100"
    decision = cycle.decide(Pod("second", wanted))
    assert isinstance(decision, Refused)
    assert decision.reason == "InsufficientWholeGPUs"
    assert [(found.reason, found.nodes) for found in decision.blockers] == [
        ("GPUModelMismatch", 5),
        ("InsufficientWholeGPUs", 1),
    ]


def test_a_cluster_without_nodes_refuses_and_says_so() -> None:
    decision = make_cycle().decide(Pod("pod", make_shape()))
    assert isinstance(decision, Refused)
    assert "no nodes" in decision.detail


def test_a_tolerated_taint_does_not_keep_a_pod_away() -> None:
    cycle = make_cycle(make_node("gpu", taints=(Taint("gpu", "yes"),)))
    assert put(cycle, "pod", make_shape(tolerations=(Toleration("gpu", "Equal", "yes"),))) == "gpu"


def test_fractions_of_one_gpu_are_shared_and_the_rest_stays_whole() -> None:
    cycle = make_cycle(make_node(gpus=2))
    third = make_shape(gpu=Gpu(1, 300))
    devices = []
    for name in "abc":
        decision = cycle.decide(Pod(name, third))
        assert isinstance(decision, Placed)
        devices.append(decision.devices)
        cycle.state.place(cycle.state.demand(third), decision)
    assert devices == [(0,), (0,), (0,)]
    assert put(cycle, "whole", make_shape(gpu=WHOLE_GPU)) == "node"
    assert put(cycle, "fourth", third) == "InsufficientGPUFraction"


def test_a_shape_that_looks_at_a_label_splits_equal_nodes_by_it() -> None:
    nodes = [make_node(f"plain-{n}") for n in range(3)] + [make_node("ssd", labels={"disk": "ssd"})]
    cycle = make_cycle(*nodes)
    put(cycle, "first", make_shape())
    assert put(cycle, "second", make_shape(selector={"disk": "ssd"})) == "ssd"


def test_topology_spread_keeps_the_skew_between_zones() -> None:
    nodes = [make_node(f"{zone}{n}", cpu=64000, labels={"zone": zone}) for zone in "abc" for n in range(2)]
    cycle = make_cycle(*nodes, make_node("homeless", cpu=64000))
    shape = make_shape(spread=(Spread("zone", 1, "web"),))
    zones = [put(cycle, f"pod-{number}", shape)[0] for number in range(9)]
    for placed in range(1, 10):
        counts = [zones[:placed].count(zone) for zone in "abc"]
        assert max(counts) - min(counts) <= 1


def test_topology_spread_refuses_when_the_only_allowed_zone_is_full() -> None:
    nodes = [make_node("a", cpu=4000, labels={"zone": "a"}), make_node("b", cpu=1000, labels={"zone": "b"})]
    cycle = make_cycle(*nodes)
    shape = make_shape(spread=(Spread("zone", 1, "web"),))
    assert {put(cycle, "one", shape), put(cycle, "two", shape)} == {"a", "b"}
    assert put(cycle, "three", shape) == "a"
    decision = cycle.decide(Pod("four", shape))
    assert isinstance(decision, Refused)
    assert {found.reason: found.nodes for found in decision.blockers} == {
        "TopologySpread": 1,
        "InsufficientCPU": 1,
    }


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_places_what_fits_and_refuses_what_does_not(policy: str) -> None:
    cycle = make_cycle(*(make_node(f"n{number}", gpus=2) for number in range(3)), policy=policy)
    shape = make_shape(gpu=WHOLE_GPU)
    placed = [put(cycle, f"pod-{number}", shape) for number in range(7)]
    assert sorted(placed[:6]) == ["n0", "n0", "n1", "n1", "n2", "n2"]
    assert placed[6] == "InsufficientWholeGPUs"
    cycle.state.verify()


def test_a_tenant_that_nobody_declared_is_refused_before_any_node_is_looked_at() -> None:
    cycle = make_cycle(make_node(), tenancy=make_rules(make_tenant("known")))
    decision = cycle.decide(Pod("pod", make_shape(tenant="stranger")))
    assert isinstance(decision, Refused)
    assert decision.reason == "TenantRules"
    assert "stranger" in decision.detail
