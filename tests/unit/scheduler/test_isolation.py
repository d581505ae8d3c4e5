"""Trust x runtime x neighbours as placement sees them."""

from __future__ import annotations

from scheduler.model import Placed, Pod, Refused
from scheduler.placement.events import PodLeft
from tenants.model import CoResidency, Trust
from tests.support.cluster import make_cycle, make_node, make_rules, make_shape, make_tenant, put

PLATFORM = make_tenant("platform")
AGENTS = make_tenant("agents", trust=Trust.UNTRUSTED)


def test_an_untrusted_pod_pays_for_its_sandbox() -> None:
    cycle = make_cycle(make_node(cpu=2000), tenancy=make_rules(AGENTS))
    assert put(cycle, "one", make_shape(tenant="agents")) == "node"
    assert put(cycle, "two", make_shape(tenant="agents")) == "InsufficientCPU"


def test_an_untrusted_pod_that_asks_for_runc_is_refused() -> None:
    cycle = make_cycle(make_node(), tenancy=make_rules(AGENTS))
    decision = cycle.decide(Pod("pod", make_shape(tenant="agents", runtime_class="runc")))
    assert isinstance(decision, Refused)
    assert decision.reason == "TenantRules"


def test_an_untrusted_pod_never_stands_where_no_sandbox_can_run() -> None:
    cycle = make_cycle(make_node("old", sandboxes=False), tenancy=make_rules(PLATFORM, AGENTS))
    assert put(cycle, "a", make_shape(tenant="agents")) == "NodeCannotSandbox"
    assert put(cycle, "p", make_shape(tenant="platform")) == "old"


def test_a_tenant_alone_on_its_nodes_keeps_others_off_and_fills_its_own_first() -> None:
    ledger = make_tenant("ledger", co_residency=CoResidency.TENANT_ONLY)
    cycle = make_cycle(make_node("a"), make_node("b"), tenancy=make_rules(PLATFORM, ledger))
    first = put(cycle, "l0", make_shape(tenant="ledger"))
    assert {put(cycle, f"l{n}", make_shape(tenant="ledger")) for n in range(1, 4)} == {first}
    other = put(cycle, "p", make_shape(tenant="platform"))
    assert {first, other} == {"a", "b"}
    big = make_shape(tenant="ledger", cpu=5000)
    assert put(cycle, "big", big) == "InsufficientCPU"
    assert put(cycle, "p2", make_shape(tenant="platform")) == other


def test_an_exclusive_tenant_has_a_node_for_each_pod() -> None:
    vault = make_tenant("vault", co_residency=CoResidency.EXCLUSIVE)
    cycle = make_cycle(make_node("a"), make_node("b"), tenancy=make_rules(vault))
    shape = make_shape(tenant="vault")
    assert {put(cycle, "one", shape), put(cycle, "two", shape)} == {"a", "b"}
    assert put(cycle, "three", shape) == "Exclusive"


def test_tenants_that_never_share_never_do() -> None:
    rivals = make_rules(make_tenant("red", never_with=frozenset({"blue"})), make_tenant("blue"))
    cycle = make_cycle(make_node("only"), tenancy=rivals)
    assert put(cycle, "b", make_shape(tenant="blue")) == "only"
    assert put(cycle, "r", make_shape(tenant="red")) == "NeverWith"


def test_the_blast_radius_limits_untrusted_tenants_and_a_known_one_takes_no_further_slot() -> None:
    strangers = [make_tenant(f"s{n}", trust=Trust.UNTRUSTED) for n in range(3)]
    cycle = make_cycle(
        make_node("a"), make_node("b"), tenancy=make_rules(*strangers, PLATFORM, blast_radius=1)
    )
    first = put(cycle, "s0-0", make_shape(tenant="s0"))
    assert put(cycle, "s0-1", make_shape(tenant="s0")) == first
    assert put(cycle, "s1-0", make_shape(tenant="s1")) != first
    assert put(cycle, "s2-0", make_shape(tenant="s2")) == "BlastRadius"
    assert put(cycle, "p", make_shape(tenant="platform")) in ("a", "b")


def test_a_pod_that_leaves_gives_its_isolation_room_back() -> None:
    ledger = make_tenant("ledger", co_residency=CoResidency.TENANT_ONLY)
    cycle = make_cycle(make_node(), tenancy=make_rules(PLATFORM, ledger))
    put(cycle, "l", make_shape(tenant="ledger"))
    assert put(cycle, "p", make_shape(tenant="platform")) == "TenantOnly"
    cycle.state.apply(PodLeft("l"))
    assert isinstance(cycle.decide(Pod("p", make_shape(tenant="platform"))), Placed)
