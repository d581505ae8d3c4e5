"""Any cluster, any tenants, any arrivals, any policy: the checker finds nothing wrong in what a replay wrote."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.checker.verify import Report, verify
from scheduler.model import GPU_MILLI, Gpu, Node, Pod, Requirement, Shape, Spread, Taint, Toleration
from scheduler.placement.score.registry import POLICIES, make_policy
from scheduler.placement.state import ClusterState
from scheduler.placement.tenancy import SingleTenant, TenantRules
from scheduler.replay.events import EventFile
from scheduler.replay.run import Replay, replay
from tenants.model import CoResidency, Runtime, TenantSet, Trust
from tests.support.cluster import make_node, make_rules, make_shape, make_tenant

TENANTS = (
    make_tenant("open"),
    make_tenant("alone", co_residency=CoResidency.EXCLUSIVE),
    make_tenant("own", co_residency=CoResidency.TENANT_ONLY),
    make_tenant("wary", co_residency=CoResidency.TRUSTED_ONLY),
    make_tenant("walled", runtime=Runtime.BULKHEAD, never_with=frozenset({"wary"})),
    make_tenant("stranger", trust=Trust.UNTRUSTED, blast_radius=2),
    make_tenant("other", trust=Trust.UNTRUSTED, never_with=frozenset({"open"})),
    make_tenant("third", trust=Trust.UNTRUSTED),
)
NAMES = [tenant.name for tenant in TENANTS] + ["nobody"]
GPU_TAINT = Taint("gpu")
GPUS = st.one_of(
    st.none(),
    st.builds(
        Gpu, st.just(1), st.sampled_from([100, 470, 810]), st.sampled_from([(), ("T4",), ("A10", "T4")])
    ),
    st.builds(Gpu, st.sampled_from([1, 2]), st.just(GPU_MILLI)),
)
NODES = st.builds(
    lambda cpu, gpus, zone, tainted, cordoned, sandboxes, extra: make_node(
        cpu=cpu,
        gpus=gpus,
        model="T4" if gpus == 2 else "A10" if gpus else "",
        labels={"zone": zone} if zone else {},
        taints=(GPU_TAINT,) if tainted else (),
        unschedulable=cordoned,
        sandboxes=sandboxes,
        **extra,
    ),
    st.sampled_from([2000, 8000]),
    st.sampled_from([0, 1, 2]),
    st.sampled_from(["a", "b", "c", ""]),
    st.sampled_from([False, False, True]),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([True, True, False]),
    st.sampled_from([{}, {"pods": 3}, {"fpga": 2}, {"ephemeral_mib": 1500}]),
)
SHAPES = st.builds(
    lambda cpu, gpu, tenant, selector, terms, tolerant, spread, extra: Shape(
        requests=make_shape(cpu=cpu, memory=4 * cpu, **extra).requests,
        gpu=gpu,
        tenant=tenant,
        node_selector=selector,
        affinity=terms,
        tolerations=(Toleration("gpu", "Exists"),) if tolerant else (),
        spread=spread,
    ),
    st.sampled_from([200, 1000, 1900, 4000]),
    GPUS,
    st.sampled_from(NAMES),
    st.sampled_from([(), (), (("zone", "a"),)]),
    st.sampled_from([(), (), ((Requirement("zone", "NotIn", ("b",)),), (Requirement("zone", "Exists"),))]),
    st.booleans(),
    st.sampled_from([(), (), (Spread("zone", 1, "web"),), (Spread("zone", 2, "db"),)]),
    st.sampled_from([{}, {}, {"fpga": 1}, {"ephemeral_mib": 500}]),
)


def written(
    nodes: list[Node], shapes: list[Shape], policy: str, *, tenants: bool, limit: int | None
) -> Report:
    """Replay onto a fresh cluster, and have the event file checked."""
    named = [msgspec.structs.replace(node, name=f"n{number}") for number, node in enumerate(nodes)]
    rules = make_rules(*TENANTS, blast_radius=limit)
    tenancy = rules if tenants else SingleTenant()
    declared = rules.tenants if isinstance(tenancy, TenantRules) else TenantSet()
    chosen = make_policy(policy, 1, None)
    run = Replay(
        ClusterState(named, tenancy, identify_nodes=chosen.identify_nodes),
        chosen,
        "cpu_milli",
        itertools.count().__next__,
    )
    pods = [Pod(f"p{number}", shape) for number, shape in enumerate(shapes)]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "events.jsonl"
        with EventFile(path) as events:
            events.begin(policy, 1, None, named, tenancy, declared)
            replay(run, pods, 1, events.decision)
        return verify(path)


@settings(max_examples=300, deadline=None)
@given(
    nodes=st.lists(NODES, min_size=1, max_size=6),
    kinds=st.lists(SHAPES, min_size=1, max_size=5),
    order=st.lists(st.integers(0, 4), min_size=1, max_size=40),
    policy=st.sampled_from(sorted(POLICIES)),
    tenants=st.booleans(),
    limit=st.sampled_from([None, 1, 2]),
)
def test_the_checker_finds_nothing_in_any_replay(
    nodes: list[Node], kinds: list[Shape], order: list[int], policy: str, tenants: bool, limit: int | None
) -> None:
    shapes = [kinds[number % len(kinds)] for number in order]
    nodes = [*nodes, make_node(fpga=1)]
    report = written(nodes, shapes, policy, tenants=tenants, limit=limit)
    assert report.shown == []
    assert report.placed + report.refused == len(shapes)


WEB = make_shape(cpu=1000, spread=(Spread("zone", 1, "web"),))
UNTRUE = [
    pytest.param(
        [make_node(cpu=500, labels={"zone": "a"}), make_node(cpu=4000, labels={"zone": "b"})],
        [WEB, WEB, make_shape(cpu=2100), WEB],
        id="the most that any node has is remembered although a node that the spread had ruled out has more",
    ),
    pytest.param(
        [make_node(labels={"zone": "a"})],
        [make_shape(fpga=1, selector={"zone": "b"})],
        id="a resource that no node has is said before the selector",
    ),
    pytest.param([make_node()], [make_shape(fpga=1)], id="the amount is read past the end of an array"),
]


@pytest.mark.parametrize(("nodes", "shapes"), UNTRUE)
def test_what_a_refusal_says_is_true(nodes: list[Node], shapes: list[Shape]) -> None:
    assert written(nodes, shapes, "best-fit", tenants=False, limit=None).shown == []
