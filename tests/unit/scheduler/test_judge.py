"""The judge: best first among the names given, a reason for each other one, nothing changed by asking."""

from __future__ import annotations

import numpy as np
import pytest

from scheduler.model import CPU, MEMORY, Gpu, Node, Placed, Pod, Shape, Spread, Taint, amounts
from scheduler.placement.cycle import Cycle
from scheduler.placement.events import NodeLeft
from scheduler.placement.judge import Judge, Verdict
from tenants.model import CoResidency, Trust
from tests.support.cluster import make_cycle, make_node, make_rules, make_shape, make_tenant, put


def judged(cycle: Cycle, shape: Shape, *names: str, uid: str = "new", limit: int = 10) -> Verdict:
    return Judge(cycle, limit).judge(Pod(uid, shape), names, every_reason=True)


def test_what_fits_comes_best_first_and_what_does_not_with_its_reason() -> None:
    cycle = make_cycle(
        make_node("wide", cpu=9000),
        make_node("tight", cpu=2000),
        make_node("small", cpu=500),
        make_node("cordoned", unschedulable=True),
        make_node("tainted", taints=(Taint("key"),)),
    )
    verdict = judged(cycle, make_shape(), "wide", "small", "tight", "cordoned", "tainted", "unheard-of")
    assert verdict.fitting == ["tight", "wide"]
    assert verdict.failed == {"small": "InsufficientCPU"}
    assert verdict.unresolvable == {
        "cordoned": "NodeUnschedulable",
        "tainted": "UntoleratedTaint",
        "unheard-of": "NodeGone",
    }


def test_the_first_choice_among_all_nodes_is_that_of_the_cycle() -> None:
    random = np.random.default_rng(5)
    nodes = [make_node(f"n{i}", cpu=int(random.integers(2000, 9000)), gpus=int(i % 3)) for i in range(60)]
    for policy in ("best-fit", "bulkhead", "fgd", "gpu-packing"):
        cycle = make_cycle(*nodes, policy=policy)
        for number in range(120):
            gpu = Gpu(1, 500) if number % 3 == 0 else None
            shape = make_shape(cpu=int(random.integers(1, 8)) * 250, gpu=gpu)
            names = [nodes[int(i)].name for i in random.permutation(60)]
            cycle.policy.observe(cycle.state.demand(shape))  # the judge counts no arrival, the cycle does
            verdict = Judge(cycle).judge(Pod(f"p{number}", shape), names)
            classes = cycle.state.classes.of_node.copy()
            quiet = cycle.policy.observe
            cycle.policy.observe = lambda demand: None  # type: ignore[method-assign]
            chosen = put(cycle, f"p{number}", shape)
            cycle.policy.observe = quiet  # type: ignore[method-assign]
            if verdict.fitting:
                one, other = (cycle.state.number_of[name] for name in (chosen, verdict.fitting[0]))
                assert classes[one] == classes[other]
            else:
                assert not chosen.startswith("n")


def test_only_the_names_given_are_chosen_from_and_as_many_as_asked() -> None:
    nodes = [make_node(f"n{i}", cpu=1000 * (i + 1)) for i in range(8)]
    cycle = make_cycle(*nodes)
    assert judged(cycle, make_shape(), "n7", "n5", "n6", limit=2).fitting == ["n5", "n6"]
    assert judged(cycle, make_shape(), "n7").fitting == ["n7"]
    assert judged(cycle, make_shape()).fitting == []


def test_whoever_has_a_place_is_told_no_reasons() -> None:
    cycle = make_cycle(make_node("fits"), make_node("full", cpu=1))
    assert Judge(cycle).judge(Pod("p", make_shape()), ["fits", "full"]) == Verdict(["fits"])


def test_asking_changes_nothing_however_often() -> None:
    cycle = make_cycle(make_node("a"), make_node("b", cpu=4000), policy="bulkhead")
    before = (cycle.state.free.copy(), dict(cycle.state.pods), cycle.policy.pricing)
    answers = [judged(cycle, make_shape(), "a", "b") for _ in range(5)]
    assert all(answer == answers[0] for answer in answers)
    assert np.array_equal(cycle.state.free, before[0])
    assert (dict(cycle.state.pods), cycle.policy.pricing) == before[1:]


def test_a_pod_does_not_stand_in_its_own_way() -> None:
    cycle = make_cycle(make_node("a", cpu=1000), make_node("b", cpu=3000))
    shape = make_shape(cpu=1000)
    assert put(cycle, "mine", shape) == "a"
    assert judged(cycle, shape, "a", uid="mine").fitting == ["a"]
    assert judged(cycle, shape, "b", "a", uid="mine").fitting == ["a", "b"]
    assert judged(cycle, shape, "a", uid="another").failed == {"a": "InsufficientCPU"}


def test_a_pod_with_devices_does_not_stand_in_its_own_way() -> None:
    cycle = make_cycle(make_node("a", gpus=2))
    shape = make_shape(gpu=Gpu(2, 1000))
    assert put(cycle, "mine", shape) == "a"
    assert judged(cycle, shape, "a", uid="mine").fitting == ["a"]
    assert judged(cycle, shape, "a", uid="another").failed == {"a": "InsufficientWholeGPUs"}


def test_a_pod_is_turned_away_from_its_own_node_when_the_node_has_changed() -> None:
    cycle = make_cycle(make_node("a", cpu=1000))
    shape = make_shape(cpu=1000)
    put(cycle, "mine", shape)
    cycle.state.place(cycle.state.demand(make_shape(cpu=500)), Placed("foreign", "a"))
    assert judged(cycle, shape, "a", uid="mine").failed == {"a": "InsufficientCPU"}


def test_an_exclusive_tenant_alone_on_its_node_still_fits_there() -> None:
    rules = make_rules(
        make_tenant("alone", co_residency=CoResidency.EXCLUSIVE),
        make_tenant("other"),
    )
    cycle = make_cycle(make_node("a"), tenancy=rules)
    put(cycle, "mine", make_shape(tenant="alone"))
    assert judged(cycle, make_shape(tenant="alone"), "a", uid="mine").fitting == ["a"]
    assert judged(cycle, make_shape(tenant="other"), "a").unresolvable == {"a": "Exclusive"}


def test_the_last_place_of_the_blast_radius_is_kept_for_whoever_has_it() -> None:
    rules = make_rules(
        make_tenant("one", trust=Trust.UNTRUSTED), make_tenant("two", trust=Trust.UNTRUSTED), blast_radius=1
    )
    cycle = make_cycle(make_node("a"), tenancy=rules)
    put(cycle, "mine", make_shape(tenant="one"))
    assert judged(cycle, make_shape(tenant="one"), "a", uid="mine").fitting == ["a"]
    assert judged(cycle, make_shape(tenant="two"), "a").unresolvable == {"a": "BlastRadius"}


def test_a_tenant_that_is_unknown_is_refused_everywhere() -> None:
    cycle = make_cycle(make_node("a"), make_node("b"), tenancy=make_rules(make_tenant("known")))
    verdict = judged(cycle, make_shape(tenant="unknown"), "a", "b")
    assert verdict.fitting == []
    assert set(verdict.unresolvable) == {"a", "b"}
    assert "UnknownTenant" in verdict.unresolvable["a"]


def zoned(name: str, zone: str) -> Node:
    return make_node(name, labels={"zone": zone})


def test_a_spread_rule_is_a_reason_that_eviction_could_cure_and_does_not_count_the_pod_itself() -> None:
    cycle = make_cycle(zoned("a", "1"), zoned("b", "2"))
    shape = make_shape(spread=(Spread("zone", 1, "group"),))
    first = put(cycle, "mine", shape)
    other = {"a": "b", "b": "a"}[first]
    verdict = judged(cycle, shape, first, other)
    assert verdict.fitting == [other]
    assert verdict.failed == {first: "TopologySpread"}
    assert judged(cycle, shape, first, other, uid="mine").fitting == [first, other]


def test_a_pod_that_has_room_in_a_zone_may_move_within_it() -> None:
    cycle = make_cycle(zoned("a", "1"), zoned("a2", "1"), zoned("b", "2"))
    shape = make_shape(spread=(Spread("zone", 1, "group"),))
    cycle.state.place(cycle.state.demand(shape), Placed("mine", "a"))
    assert judged(cycle, shape, "a2").failed == {"a2": "TopologySpread"}
    assert judged(cycle, shape, "a2", uid="mine").fitting == ["a2"]


@pytest.mark.parametrize("policy", ["best-fit", "bulkhead"])
def test_answers_follow_the_state(policy: str) -> None:
    cycle = make_cycle(make_node("a", cpu=2000), make_node("b", cpu=8000), policy=policy)
    judge, shape = Judge(cycle), make_shape(cpu=1500)
    assert judge.judge(Pod("p", shape), ["b", "a"]).fitting[0] in ("a", "b")
    cycle.state.place(cycle.state.demand(shape), Placed("x", "a"))
    assert judge.judge(Pod("p", shape), ["b", "a"]).fitting == ["b"]
    cycle.state.apply(NodeLeft("b"))
    assert judge.judge(Pod("p", shape), ["b", "a"], every_reason=True) == Verdict(
        [], {"a": "InsufficientCPU"}, {"b": "NodeGone"}
    )


@pytest.mark.parametrize(
    "asked",
    [{CPU: 2**63 - 1}, {MEMORY: 2**63 - 1}, {"unheard": 2**63 - 1, "of": 2**63 - 1}, {CPU: 2**80}],
)
def test_a_request_beyond_all_measure_fits_nowhere(asked: dict[str, int]) -> None:
    rules = make_rules(make_tenant("walled", trust=Trust.UNTRUSTED))  # the overhead comes on top
    shape = Shape(requests=amounts(asked), tenant="walled")
    verdict = judged(make_cycle(make_node("a"), tenancy=rules), shape, "a")
    assert len(verdict.failed) == 1
