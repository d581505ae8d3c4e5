"""Random crowded clusters: every plan keeps the laws, suffices, spares nobody in vain, and rounds come to rest."""

from __future__ import annotations

from random import Random

from hypothesis import Phase as Step
from hypothesis import event, given, settings
from hypothesis import strategies as st

from scheduler.model import Placed, Pod
from scheduler.placement.cycle import Cycle
from scheduler.placement.events import PodLeft
from scheduler.placement.score.registry import make_policy
from scheduler.queueing.waiting import Waiting
from scheduler.reclaim.budgets import Budget, Budgets, PodFacts
from scheduler.reclaim.plan import Plan, Reclaim
from tenants.ledger.charge import Phase
from tenants.model import Group, Tenant
from tests.support.ledger import CPU, make_group, make_ledger
from tests.support.queueing import World, make_node, make_waiting
from tests.support.tenants import cpu, make_tenant

SEEDS = st.integers(min_value=0, max_value=2**32)
RANDOM = settings(max_examples=200, deadline=None, phases=[Step.generate])


def crowd(rng: Random) -> World:
    """Nodes full of pods; guarantees add up to no more than the pool, which may be smaller than the nodes."""
    nodes = [make_node(f"n{n}", cpu=8) for n in range(rng.randint(1, 4))]
    room = 8 * len(nodes)
    tree: list[Tenant | Group] = [make_group("g", cpu(rng.randint(0, room // 4)))]
    for number in range(rng.randint(2, 4)):
        parent = rng.choice(["", "", "g"])
        guaranteed = 0 if parent else 0 if number == 0 else rng.choice([0, room // 4, room // 3])
        tree.append(make_tenant(f"t{number}", parent=parent, quota=cpu(guaranteed)))
    world = World(make_ledger(*tree, offered={"cpu": rng.choice([room, room, 10 * room])}), nodes)
    first = names(world)[: rng.randint(1, 2)]  # who floods while the others have not come yet
    world.add(*(waiting(rng, f"p{n}", first, most=3) for n in range(rng.randint(20, 40))))
    while world.go():
        pass
    for uid in rng.sample(sorted(world.running), len(world.running) // 10):
        world.ledger.terminate(uid)
    return world


def names(world: World) -> list[str]:
    return sorted(node.name for node in world.ledger.forest.nodes if node and node.tenant)


def waiting(rng: Random, uid: str, tenants: list[str], most: int) -> Waiting:
    return make_waiting(
        uid, rng.choice(tenants), cpu=rng.randint(1, most), priority=rng.choice([0, 0, 0, 1, 2])
    )


def budgets(rng: Random, world: World) -> Budgets:
    facts = {uid: PodFacts("x", (("app", rng.choice("ab")),)) for uid in world.running if rng.random() < 0.7}
    return Budgets([Budget("x", (("app", "a"),), rng.randint(0, 2)), Budget("x", (("app", "b"),), 4)], facts)


def fits(world: World, ask: Waiting, gone: set[str], node: str) -> bool:
    """Whether ledger and cluster really take the pod once these and all that were leaving have left."""
    leaving = {uid for uid, entry in world.ledger.entries.items() if entry.phase is Phase.TERMINATING}
    state = world.state.snapshot()
    for uid in gone | leaving:
        state.apply(PodLeft(uid))
    with world.ledger.what_if():
        for uid in gone | leaving:
            world.ledger.release(uid)
        if world.ledger.refusal(ask.charge) is not None:
            return False
    if not node:
        return isinstance(
            Cycle(state, make_policy("best-fit", 1, None)).decide(Pod(ask.uid, ask.shape)), Placed
        )
    free = state.free[state.number_of[node]]
    return bool((state.demand(ask.shape).request <= free).all())


def broken_laws(world: World, ask: Waiting, victims: set[str], *, within_tenant: bool) -> list[str]:
    found = []
    before = {name: world.ledger.usage(name)[CPU] for name in world.ledger.forest.names if name}
    with world.ledger.what_if():
        for uid in victims:
            victim = world.ledger.entries[uid]
            own = victim.charge.tenant == ask.tenant
            if victim.phase is not Phase.HELD:
                found.append(f"{uid} is leaving already")
            if own and not (within_tenant and victim.charge.priority < ask.priority):
                found.append(f"{uid} is of the same tenant")
            if victim.charge.priority > ask.priority:
                found.append(f"law 6: {uid}")
        for uid in victims:
            world.ledger.release(uid)
        losers = {world.running[uid].waiting.tenant for uid in victims} - {ask.tenant}
        mine = world.ledger.forest.paths[world.ledger.forest.leaf(ask.tenant)]
        tree = world.ledger.forest.trees[CPU]
        for name in sorted(losers):
            branch = [n for n in world.ledger.forest.paths[world.ledger.forest.leaf(name)] if n not in mine]
            if any(tree.borrowed(node) < 0 for node in branch):
                found.append(f"law 2: {name} lost {before[name]} -> {world.ledger.usage(name)[CPU]}")
        world.ledger.record(ask.charge)
        if losers and all(tree.borrowed(node) > 0 for node in mine):
            found.append(f"law 4: {ask.tenant} borrows")
    return found


def drawn(seed: int) -> tuple[Random, World, Budgets, Waiting]:
    """A crowd, budgets for it, and somebody who waits."""
    rng = Random(seed)  # noqa: S311  # reproducible, nothing secret
    world = crowd(rng)
    return rng, world, budgets(rng, world), waiting(rng, "ask", names(world)[1:], most=6)


@given(SEEDS)
@RANDOM
def test_a_plan_keeps_the_laws_suffices_and_has_no_victim_too_many(seed: int) -> None:
    _, world, limits, ask = drawn(seed)
    entries = dict(world.ledger.entries)
    plan = Reclaim(world.ledger, world.state, limits).plan(ask)
    assert world.ledger.entries == entries
    world.ledger.verify()
    event(type(plan).__name__)
    if not isinstance(plan, Plan):
        return
    event(f"{len(plan.victims)} victims")
    victims = set(plan.victims)
    assert broken_laws(world, ask, victims, within_tenant=False) == []
    assert limits.over(plan.victims) == []
    assert fits(world, ask, victims, plan.node)
    for uid in victims:
        assert not fits(world, ask, victims - {uid}, plan.node), f"{uid} is evicted in vain"


@given(SEEDS)
@RANDOM
def test_preempt_answers_by_the_same_laws_whatever_is_proposed(seed: int) -> None:
    rng, world, limits, ask = drawn(seed)
    candidates = {
        name: [uid for uid in sorted(world.running) if rng.random() < 0.3] for name in world.state.number_of
    }
    answer = Reclaim(world.ledger, world.state, limits).preempt(ask, candidates)
    for node, victims in answer.items():
        assert broken_laws(world, ask, set(victims), within_tenant=True) == []
        assert limits.over(victims) == []
        assert fits(world, ask, set(victims), node)
        for uid in victims:
            assert not fits(world, ask, set(victims) - {uid}, node)


@given(SEEDS)
@settings(max_examples=20, deadline=None, phases=[Step.generate])
def test_fixed_demand_comes_to_rest_and_nobody_takes_turns_in_evicting(seed: int) -> None:
    """Victims come back at once and want their place again; after a while nobody is evicted any more."""
    rng = Random(seed)  # noqa: S311  # reproducible, nothing secret
    world = crowd(rng)
    for uid, entry in list(world.ledger.entries.items()):
        if entry.phase is Phase.TERMINATING:
            world.end(uid)
    late = [waiting(rng, f"late{n}", names(world), most=6) for n in range(15)]
    world.add(*late)
    evicted_by: set[tuple[str, str]] = set()
    quiet = 0
    for turn in range(300):
        world.now = float(turn)
        world.go()
        plan = next_plan(world)
        if plan is None:
            quiet += 1
            if quiet > 3:
                break
            continue
        quiet, (ask, found) = 0, plan
        losers = [world.running[uid].waiting for uid in found.victims]
        for loser in losers:
            evicted_by.add((ask.tenant, loser.tenant))
            assert (loser.tenant, ask.tenant) not in evicted_by, "two tenants take turns"
        world.end(*found.victims)
        world.queue.expect(ask.uid, found.node)
        assert ask.uid in world.go(), "who reclaimed did not get it"
        world.add(*losers)
        world.check()
    assert quiet > 3, "still evicting after 300 rounds of the same demand"


def next_plan(world: World) -> tuple[Waiting, Plan] | None:
    reclaim = Reclaim(world.ledger, world.state)
    for uid in sorted(world.queue._unit_of):
        ask = world.queue._unit_of[uid].members[uid]
        plan = reclaim.plan(ask)
        if isinstance(plan, Plan):
            return ask, plan
    return None
