"""The mirror: what the API server says wins, and what was assumed is taken back when it does not come true."""

from __future__ import annotations

import msgspec

from scheduler.kube.objects import Affinity, Expression, NodeAffinity, NodeSelector, Term
from scheduler.mirror.mirror import Mirror, charge_on
from scheduler.mirror.record import Stage
from scheduler.model import CPU, Placed, Refused
from scheduler.placement.score.registry import POLICIES
from tenants.ledger.charge import Phase
from tenants.model import Allowance, Dimension, Pool, RuntimeClass, Tenant, TenantSet, Trust
from tests.support.objects import node, pod

SHARE = Allowance(guaranteed=4000, max=64_000)
MEMORY = Allowance(guaranteed=4096, max=512_000)


def tenant(name: str, trust: Trust, pool: str = "default") -> Tenant:
    quota = {Dimension(pool, "cpu"): SHARE, Dimension(pool, "memory"): MEMORY}
    return Tenant(name=name, trust=trust, namespaces=(name,), quota=quota)


SANDBOX = RuntimeClass(name="bulkhead", handler="bulkhead", overhead_cpu_milli=100, overhead_memory_mib=128)
TENANTS = TenantSet(
    tenants={
        "agents": tenant("agents", Trust.UNTRUSTED),
        "platform": tenant("platform", Trust.TRUSTED),
    },
    runtime_classes={"bulkhead": SANDBOX},
)


def mirror(tenants: TenantSet = TENANTS, nodes: int = 2) -> Mirror:
    made = Mirror(tenants, POLICIES["bulkhead"])
    made.replace_nodes([node(f"n{number}") for number in range(nodes)])
    made.requota()
    return made


def free_cpu(of: Mirror, name: str) -> int:
    return int(of.state.free[of.state.number_of[name], of.state.columns[CPU]])


def test_a_pod_that_others_placed_takes_room_and_quota() -> None:
    seen = mirror()
    seen.pod_changed(pod("a", on="n0"))
    assert free_cpu(seen, "n0") == 8000 - 1100  # the sandbox's overhead included
    assert seen.ledger.usage("agents")[Dimension("default", "cpu")] == 1100
    assert list(seen.drain().record) == ["uid-agents-a"]


def test_a_pod_of_no_tenant_takes_room_and_no_quota() -> None:
    seen = mirror()
    seen.pod_changed(pod("dns", "kube-system", on="n1"))
    assert free_cpu(seen, "n1") == 7000
    assert seen.drain().empty


def test_a_gated_pod_takes_nothing_until_it_is_placed() -> None:
    seen = mirror()
    record = seen.pod_changed(pod("a"))
    assert record is not None
    assert record.stage is Stage.GATED
    placed = seen.place(record.uid)
    assert isinstance(placed, Placed)
    assert (record.stage, record.node) == (Stage.ASSUMED, placed.node)
    assert free_cpu(seen, placed.node) == 6900


def test_an_assumption_survives_events_that_do_not_decide() -> None:
    seen = mirror()
    seen.pod_changed(pod("a"))
    placed = seen.place("uid-agents-a")
    assert isinstance(placed, Placed)
    open_gate = seen.pod_changed(pod("a", gates=()))
    assert open_gate is not None
    assert (open_gate.stage, open_gate.node) == (Stage.ASSUMED, placed.node)
    bound = seen.pod_changed(pod("a", on=placed.node))
    assert bound is not None
    assert bound.stage is Stage.BOUND
    assert free_cpu(seen, placed.node) == 6900


def test_a_pod_bound_elsewhere_moves_in_the_arrays() -> None:
    seen = mirror()
    seen.pod_changed(pod("a"))
    placed = seen.place("uid-agents-a")
    assert isinstance(placed, Placed)
    other = "n0" if placed.node == "n1" else "n1"
    seen.pod_changed(pod("a", on=other))
    assert (free_cpu(seen, placed.node), free_cpu(seen, other)) == (8000, 6900)


def test_forgetting_gives_room_and_quota_back_and_leaves_a_bound_pod_alone() -> None:
    seen = mirror()
    record = seen.pod_changed(pod("a"))
    assert record is not None
    seen.place(record.uid)
    seen.ledger.record(record.charge)
    seen.forget(record.uid)
    assert (record.stage, record.node, record.placed) == (Stage.GATED, "", None)
    assert record.uid not in seen.ledger.entries
    seen.pod_changed(pod("a", on="n0"))
    seen.forget(record.uid)
    assert free_cpu(seen, "n0") == 6900


def test_an_ended_pod_and_a_removed_pod_hold_nothing() -> None:
    seen = mirror()
    seen.pod_changed(pod("a", on="n0"))
    seen.drain()
    assert seen.pod_changed(pod("a", on="n0", phase="Succeeded")) is None
    seen.pod_removed("uid-agents-a")
    assert free_cpu(seen, "n0") == 8000
    assert seen.drain().release == {"uid-agents-a"}


def test_a_terminating_pod_holds_everything_and_is_nobodys_victim() -> None:
    seen = mirror()
    seen.pod_changed(pod("a", on="n0"))
    seen.pod_changed(pod("a", on="n0", leaving=True))
    assert seen.ledger.entries["uid-agents-a"].phase is Phase.TERMINATING
    assert free_cpu(seen, "n0") == 6900
    assert seen.drain().terminate == {"uid-agents-a"}


def test_a_pod_whose_node_is_not_known_yet_stands_there_once_it_is() -> None:
    seen = mirror()
    seen.pod_changed(pod("a", on="late"))
    seen.node_changed(node("late"))
    assert free_cpu(seen, "late") == 6900


def test_a_node_that_changes_keeps_its_pods() -> None:
    seen = mirror()
    seen.pod_changed(pod("a", on="n0"))
    assert seen.node_changed(node("n0", cpu="16"))
    assert free_cpu(seen, "n0") == 16_000 - 1100
    assert not seen.node_changed(node("n0", cpu="16"))


def test_a_node_with_a_resource_never_seen_before_is_taken_in() -> None:
    seen = mirror()
    seen.pod_changed(pod("a", on="n0"))
    fpga = node("n9")
    fpga.status.allocatable["example.org/fpga"] = "2"
    seen.node_changed(fpga)
    assert free_cpu(seen, "n0") == 6900
    assert "n9" in seen.state.number_of


def test_a_node_that_goes_takes_its_pods_out_of_the_arrays_but_not_out_of_the_ledger() -> None:
    seen = mirror()
    seen.pod_changed(pod("a", on="n0"))
    seen.node_removed("n0")
    assert "uid-agents-a" in seen.ledger.entries
    seen.pod_removed("uid-agents-a")
    assert "uid-agents-a" not in seen.ledger.entries


def test_a_list_replaces_what_was_known() -> None:
    seen = mirror()
    for name in ("a", "b"):
        seen.pod_changed(pod(name, on="n0"))
    seen.replace_pods([pod("b", on="n0"), pod("c", on="n1")])
    assert set(seen.pods) == {"uid-agents-b", "uid-agents-c"}
    assert (free_cpu(seen, "n0"), free_cpu(seen, "n1")) == (6900, 6900)


def test_other_tenant_files_are_in_force_at_once() -> None:
    seen = mirror()
    seen.pod_changed(pod("a", on="n0"))
    strangers = msgspec.structs.replace(TENANTS, tenants={"platform": TENANTS.tenants["platform"]})
    seen.retenant(strangers)
    assert seen.pods["uid-agents-a"].tenant == ""
    assert not seen.ledger.entries
    seen.retenant(TENANTS)
    assert "uid-agents-a" in seen.ledger.entries


def test_a_pod_that_names_its_node_goes_there_or_nowhere() -> None:
    seen = mirror()
    picky = pod("daemon", "platform")
    field = Expression("metadata.name", "In", ("n1",))
    picky.spec.affinity = Affinity(NodeAffinity(NodeSelector((Term(match_fields=(field,)),))))
    seen.pod_changed(picky)
    placed = seen.place(picky.metadata.uid)
    assert isinstance(placed, Placed)
    assert placed.node == "n1"
    assert len(seen.state.profiles) == 1  # nodes are still of one class
    seen.pod_changed(pod("big", on="n0", cpu="7"))
    field = Expression("metadata.name", "In", ("n0",))
    full = pod("full", "platform", cpu="4")
    full.spec.affinity = Affinity(NodeAffinity(NodeSelector((Term(match_fields=(field,)),))))
    seen.pod_changed(full)
    refused = seen.place(full.metadata.uid)
    assert isinstance(refused, Refused)
    assert refused.reason == "InsufficientCPU"


def test_an_untrusted_pod_without_a_sandbox_is_refused_and_one_that_runs_keeps_others_away() -> None:
    seen = mirror(nodes=1)
    naked = seen.pod_changed(pod("naked", runtime_class=""))
    assert naked is not None
    refused = seen.place(naked.uid)
    assert isinstance(refused, Refused)
    assert "SandboxRequired" in refused.detail
    seen.pod_changed(pod("running", runtime_class="", on="n0"))
    seen.pod_changed(pod("tidy", "platform"))
    away = seen.place("uid-platform-tidy")
    assert isinstance(away, Refused)
    assert away.reason == "UnsandboxedNeighbour"


def test_the_guard_sees_in_the_ledger_who_stands_on_the_node() -> None:
    seen = mirror(nodes=1)
    seen.pod_changed(pod("running", runtime_class="", on="n0"))
    tidy = seen.pod_changed(pod("tidy", "platform"))
    assert tidy is not None
    charge = charge_on(tidy.charge, seen.nodes["n0"], seen.tenants)
    verdict = seen.guard(seen.ledger, charge)
    assert verdict is not None
    assert str(verdict) == "Neighbours: UnsandboxedNeighbour on node n0, where agents stands"


def test_a_pod_is_kept_to_the_pool_that_its_quota_is_of() -> None:
    gpu = Pool(name="gpu", node_labels={"pool": "gpu"})
    both = msgspec.structs.replace(
        TENANTS,
        tenants={
            "platform": tenant("platform", Trust.TRUSTED),
            "agents": tenant("agents", Trust.UNTRUSTED, "gpu"),
        },
        pools={"gpu": gpu},
    )
    seen = mirror(both, nodes=0)
    seen.replace_nodes([node("g0", labels={"pool": "gpu"}), node("n0")])
    seen.requota()
    wants = pod("a", "agents")
    wants.spec.node_selector["pool"] = "gpu"
    record = seen.pod_changed(wants)
    assert record is not None
    assert record.charge.pool == "gpu"
    plain = seen.pod_changed(pod("b", "platform"))
    assert plain is not None
    placed = [seen.place(one.uid) for one in (record, plain)]
    assert [one.node for one in placed if isinstance(one, Placed)] == ["g0", "n0"]


def test_a_state_that_is_told_again_is_not_read_again_and_a_newer_one_is() -> None:
    known = mirror()
    found = pod("web", on="n0")
    found.metadata.resource_version = "7"
    first = known.pod_changed(found)
    assert known.pod_changed(found) is first
    leaving = pod("web", on="n0", leaving=True)
    leaving.metadata.resource_version = "8"
    second = known.pod_changed(leaving)
    assert second is not None
    assert second.stage is Stage.LEAVING
