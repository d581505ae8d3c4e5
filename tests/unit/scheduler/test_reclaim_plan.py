"""Whom to evict for a pod, by example: quota with room, room on one node, budgets, the preempt verb."""

from __future__ import annotations

from scheduler.placement.events import NodeJoined
from scheduler.reclaim.budgets import Budget, Budgets, PodFacts
from scheduler.reclaim.plan import NoPlan, NoPlanCode, Plan, Reclaim
from tenants.ledger.charge import Phase
from tests.support.ledger import make_ledger
from tests.support.queueing import World, make_node, make_waiting
from tests.support.tenants import cpu, make_tenant


def crowded(*, a: int = 4000, b: int = 0, pool: int = 4000, nodes: int = 2, each: int = 2000) -> World:
    """Tenant b has borrowed everything that it can on nodes of `each` milli-CPU, by pods of 1 CPU."""
    ledger = make_ledger(
        make_tenant("a", quota=cpu(a)), make_tenant("b", quota=cpu(b)), offered={"cpu": pool}
    )
    world = World(ledger, [make_node(f"n{n}", cpu=each) for n in range(nodes)])
    world.add(*(make_waiting(f"b{n}", "b", arrived=n) for n in range(nodes * each // 1000)))
    world.go()
    return world


def test_victims_stand_on_the_one_node_where_the_pod_will_fit() -> None:
    world = crowded()
    plan = Reclaim(world.ledger, world.state).plan(make_waiting("ask", "a", cpu=2000))
    assert isinstance(plan, Plan)
    assert {world.running[uid].placed.node for uid in plan.victims} == {plan.node}
    assert len(plan.victims) == 2
    world.end(*plan.victims)
    world.add(make_waiting("ask", "a", cpu=2000))
    assert world.go() == ["ask"]
    world.check()


def test_where_a_node_is_free_only_quota_is_reclaimed() -> None:
    world = crowded()
    world.state.apply(_joined("spare"))
    plan = Reclaim(world.ledger, world.state).plan(make_waiting("ask", "a"))
    assert isinstance(plan, Plan)
    assert (len(plan.victims), plan.node) == (1, "")


def test_room_is_made_though_quota_is_there() -> None:
    world = crowded(pool=1 << 30)
    plan = Reclaim(world.ledger, world.state).plan(make_waiting("ask", "a"))
    assert isinstance(plan, Plan)
    assert len(plan.victims) == 1


def test_a_tenant_within_its_guarantee_loses_nothing() -> None:
    world = crowded(a=2000, b=4000, pool=1 << 30)
    answer = Reclaim(world.ledger, world.state).plan(make_waiting("ask", "a"))
    assert answer == NoPlan("ask", NoPlanCode.ROOM, "2 nodes were looked at")


def test_a_borrower_evicts_nobody() -> None:
    world = crowded(a=1000)
    answer = Reclaim(world.ledger, world.state).plan(make_waiting("ask", "a", cpu=2000))
    assert isinstance(answer, NoPlan)


def test_a_pod_of_lower_priority_evicts_nobody_of_higher() -> None:
    world = World(
        make_ledger(make_tenant("a", quota=cpu(2000)), make_tenant("b", quota=cpu(0)), offered={"cpu": 2000}),
        [make_node(cpu=2000)],
    )
    world.add(make_waiting("b0", "b", cpu=2000, priority=5))
    world.go()
    assert isinstance(Reclaim(world.ledger, world.state).plan(make_waiting("a0", "a", priority=4)), NoPlan)
    assert isinstance(Reclaim(world.ledger, world.state).plan(make_waiting("a0", "a", priority=5)), Plan)


def test_a_budget_protects_its_pods() -> None:
    world = crowded()
    facts = {uid: PodFacts("b", (("app", "x"),)) for uid in world.running}
    none = Budgets([Budget("b", (("app", "x"),), 0)], facts)
    assert isinstance(Reclaim(world.ledger, world.state, none).plan(make_waiting("ask", "a")), NoPlan)
    one = Budgets([Budget("b", (("app", "x"),), 1)], facts)
    assert isinstance(Reclaim(world.ledger, world.state, one).plan(make_waiting("ask", "a")), Plan)
    assert isinstance(
        Reclaim(world.ledger, world.state, one).plan(make_waiting("ask", "a", cpu=2000)), NoPlan
    )
    twice = Budgets([Budget("b", (), 9), Budget("b", (("app", "x"),), 9)], facts)
    assert isinstance(Reclaim(world.ledger, world.state, twice).plan(make_waiting("ask", "a")), NoPlan)


def test_one_plan_at_a_time_and_none_while_its_victims_leave() -> None:
    world = crowded()
    ask = make_waiting("ask", "a")
    plan = Reclaim(world.ledger, world.state).plan(ask)
    assert isinstance(plan, Plan)
    for uid in plan.victims:
        world.ledger.terminate(uid)
    answer = Reclaim(world.ledger, world.state).plan(ask)
    assert isinstance(answer, NoPlan)
    assert answer.code is NoPlanCode.NOT_NEEDED
    world.ledger.record(ask.charge, Phase.CLAIMED)
    answer = Reclaim(world.ledger, world.state).plan(ask)
    assert isinstance(answer, NoPlan)
    assert answer.code is NoPlanCode.CLAIMED


def test_preempt_keeps_lawful_candidates_with_as_few_victims_as_needed() -> None:
    world = crowded()
    on = {
        node: [uid for uid, one in world.running.items() if one.placed.node == node] for node in ("n0", "n1")
    }
    reclaim = Reclaim(world.ledger, world.state)
    answer = reclaim.preempt(make_waiting("ask", "a"), {"n0": on["n0"], "n1": [], "gone": []})
    assert sorted(answer) == ["n0", "n1"]
    assert [len(victims) for victims in answer.values()] == [1, 1]
    assert set(answer["n0"]) <= set(on["n0"])
    assert set(answer["n1"]) <= set(on["n1"])


def test_preempt_takes_a_tenants_own_pods_of_lower_priority_whatever_it_borrows() -> None:
    world = crowded()
    own = make_waiting("own", "b", priority=1)
    answer = Reclaim(world.ledger, world.state).preempt(own, {"n0": []})
    assert [world.running[uid].placed.node for uid in answer["n0"]] == ["n0"]
    assert Reclaim(world.ledger, world.state).preempt(make_waiting("own", "b"), {"n0": []}) == {}


def test_preempt_drops_a_node_whose_victims_the_laws_protect() -> None:
    world = crowded(a=2000, b=4000, pool=1 << 30)
    assert (
        Reclaim(world.ledger, world.state).preempt(make_waiting("ask", "a", priority=9), {"n0": ["b0"]}) == {}
    )


def _joined(name: str) -> NodeJoined:

    return NodeJoined(make_node(name, cpu=2000))
