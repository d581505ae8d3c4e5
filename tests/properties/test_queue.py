"""Random streams through the queue: quota never exceeded, guarantees first, fair shares, nothing starves, no trace."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from scheduler.queueing.waiting import Group, Waiting
from tenants.ledger.book import Ledger
from tenants.ledger.fair import shares
from tenants.model import Allowance, Tenant
from tenants.model import Group as TenantGroup
from tests.support.ledger import CPU, make_group, make_ledger, random_set
from tests.support.queueing import World, make_node, make_waiting
from tests.support.tenants import cpu, make_tenant

SEEDS = st.integers(min_value=0, max_value=2**32)
RELAXED = settings(
    phases=[Phase.generate], max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def flood(world: World, wanted: dict[str, int], sizes: tuple[int, ...], rng: Random) -> None:
    """Pods of these sizes until each tenant wants so much."""
    for tenant, total in wanted.items():
        left, number = total, 0
        while left > 0:
            size = min(left, rng.choice(sizes))
            world.add(make_waiting(f"{tenant}-{number}", tenant, cpu=size, arrived=rng.random()))
            left, number = left - size, number + 1


def worst(world: World, wanted: dict[str, int]) -> float:
    """The largest difference from the water-filling figures, as a part of the fair share itself."""
    fair = shares(world.ledger, CPU, wanted)
    used = {tenant: world.ledger.usage(tenant)[CPU] for tenant in wanted}
    return max(abs(used[tenant] - fair[tenant]) / max(1, fair[tenant]) for tenant in wanted)


@pytest.mark.parametrize("limit", [30, 100, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_six_tenants_that_flood_at_once_get_their_water_filling_shares(seed: int, limit: int) -> None:
    rng = Random(seed)  # noqa: S311  # reproducible, nothing secret
    weights = [1, 2, 3, 1, 5, 8]
    nodes = [
        make_tenant(
            f"t{n}", quota={CPU: Allowance(guaranteed=rng.choice([0, 20_000, 50_000]), weight=weight)}
        )
        for n, weight in enumerate(weights)
    ]
    world = World(make_ledger(*nodes, offered={"cpu": 1_000_000}))
    wanted = {node.name: rng.choice([60_000, 600_000, 900_000]) for node in nodes}
    flood(world, wanted, (100, 250, 500), rng)
    while world.go(limit):
        pass
    off = worst(world, wanted)
    sys.stdout.write(f"limit {limit}: worst distance from water-filling {off:.2%}\n")
    assert off <= 0.02
    world.check()


def test_weights_count_among_groups_and_again_inside_a_group() -> None:
    nodes: list[Tenant | TenantGroup] = [
        make_group("g1", {CPU: Allowance(weight=1)}),
        make_group("g2", {CPU: Allowance(weight=3)}),
        *(
            make_tenant(f"t{n}", parent=parent, quota={CPU: Allowance(weight=weight)})
            for n, (parent, weight) in enumerate([("g1", 1), ("g1", 2), ("g2", 5), ("g2", 1), ("", 2)])
        ),
    ]
    world = World(make_ledger(*nodes, offered={"cpu": 600_000}))
    wanted = {f"t{n}": 600_000 for n in range(5)}
    flood(world, wanted, (100, 250), Random(1))  # noqa: S311
    while world.go(200):
        pass
    off = worst(world, wanted)
    sys.stdout.write(f"groups: worst distance from water-filling {off:.2%}\n")
    assert off <= 0.02


@given(SEEDS)
@RELAXED
def test_any_tree_under_any_stream_stays_within_quota_and_serves_guarantees(seed: int) -> None:
    rng = Random(seed)  # noqa: S311  # reproducible, nothing secret
    tenants = random_set(rng)
    world = World(Ledger.from_tenants(tenants), patience_s=rng.choice([0.0, 3.0, 60.0]))
    names = sorted(tenants.tenants)
    number = 0
    for _ in range(30):
        for _ in range(rng.randint(0, 6)):
            group = Group(rng.choice("xy"), rng.randint(2, 4)) if rng.random() < 0.2 else None
            pod = make_waiting(f"p{number}", rng.choice(names), cpu=rng.randint(1, 8), arrived=world.now,
                               priority=rng.randint(0, 2), group=group)  # fmt: skip
            world.add(pod)
            number += 1
        disturb(world, rng)
        world.round(limit=rng.choice([2, 100]))  # World.round proves that everybody guided is admissible
        world.now += 1.0
    for _ in range(60):  # whoever could go within a guarantee has gone
        if not world.go():
            break
        world.now += 1.0
    world.check()
    assert_nobody_idle(world)


def disturb(world: World, rng: Random) -> None:
    """Pods end, and waiting ones vanish, at any time."""
    for uid in sorted(world.running):
        if rng.random() < 0.15:
            world.end(uid)
    for number in range(400):
        if rng.random() < 0.01:
            uid = f"p{number}"
            if uid in world.queue:
                world.queue.discard(uid)


def assert_nobody_idle(world: World) -> None:
    """At rest, no single pod that waits would be admitted, unless quota is kept for one before it."""
    for tenant in list(world.queue.summary()):
        for unit in list(world.queue._lines[tenant].units.values()):
            head = unit.head()
            assert head is not None
            story = world.queue.story(head.uid)
            assert story is not None
            if story.code in ("WaitingForQuota", "BorrowingLimitReached") and not unit.gang:
                kept = any(line.insisting for line in world.queue._lines.values())
                assert kept or world.ledger.refusal(head.charge) is not None, (head, story)


def stream(world: World, rng: Random, patient: Waiting, small: Iterator[Waiting], life: int) -> int:
    """Small pods keep coming, each lives `life` rounds; the number of rounds until `patient` has gone."""
    ends: dict[int, list[str]] = {}
    for turn in range(2000):
        world.end(*(uid for uid in ends.pop(turn, []) if uid in world.running))
        if turn == life:
            world.add(patient)
        for _ in range(3):
            world.add(next(small))
        for uid in world.go(limit=50):
            ends.setdefault(turn + rng.randint(1, life), []).append(uid)
        if patient.uid in world.running:
            return turn - life
        world.now += 1.0
    raise AssertionError(f"{patient.uid} starved: {world.queue.story(patient.uid)}")


@given(SEEDS)
@settings(max_examples=25, deadline=None, phases=[Phase.generate])
def test_a_large_pod_goes_in_bounded_rounds_though_small_ones_never_stop(seed: int) -> None:
    rng = Random(seed)  # noqa: S311  # reproducible, nothing secret
    patience = 20
    nodes = [make_node(f"n{n}", cpu=8000) for n in range(rng.randint(1, 4))]
    total = 8000 * len(nodes)
    ledger = make_ledger(
        make_tenant("a", quota=cpu(rng.choice([0, 8000]), **rng.choice([{}, {"max": 8000}]))),
        make_tenant("b", quota=cpu(0)),
        offered={"cpu": rng.choice([total, 10 * total])},
    )  # fmt: skip
    world = World(ledger, nodes, patience_s=patience)

    def small() -> Iterator[Waiting]:
        number = 0
        while True:
            number += 1
            yield make_waiting(
                f"s{number}", rng.choice("ab"), cpu=rng.choice([1000, 2000]), arrived=world.now
            )

    large = make_waiting("large", "a", cpu=rng.choice([6000, 8000]), arrived=8.0)
    took = stream(world, rng, large, small(), life=8)
    assert took <= patience + 2 * 8 + 4, f"took {took} rounds"  # its patience, quota drains, then a node


@given(SEEDS)
@settings(max_examples=15, deadline=None, phases=[Phase.generate])
def test_a_large_group_goes_in_bounded_rounds_though_small_ones_never_stop(seed: int) -> None:
    rng = Random(seed)  # noqa: S311  # reproducible, nothing secret
    nodes = [make_node(f"n{n}", cpu=8000) for n in range(3)]
    world = World(make_ledger(make_tenant("a", quota=cpu(24_000))), nodes, patience_s=20)
    group = Group("g", 3)

    def small() -> Iterator[Waiting]:
        number = 0
        while True:
            number += 1
            yield make_waiting(f"s{number}", cpu=rng.choice([1000, 2000]), arrived=world.now)

    for member in ("m0", "m1"):
        world.add(make_waiting(member, cpu=6000, arrived=8.0, group=group))
    took = stream(world, rng, make_waiting("m2", cpu=6000, arrived=8.0, group=group), small(), life=8)
    assert {"m0", "m1", "m2"} <= set(world.running)
    assert took <= 20 + 6 * 8


@given(SEEDS)
@settings(max_examples=25, deadline=None, phases=[Phase.generate])
def test_the_same_inputs_give_the_same_outcome_whatever_the_order_of_arrival_calls(seed: int) -> None:
    rng = Random(seed)  # noqa: S311  # reproducible, nothing secret
    tenants = random_set(rng)
    pods = [
        make_waiting(f"p{n}", rng.choice(sorted(tenants.tenants)), cpu=rng.randint(1, 6),
                     priority=rng.randint(0, 1), arrived=rng.randint(0, 3),
                     group=Group("g", 2) if rng.random() < 0.2 else None)
        for n in range(40)
    ]  # fmt: skip
    results = []
    for _ in range(2):
        world = World(Ledger.from_tenants(tenants), [make_node(f"n{n}", cpu=20) for n in range(3)])
        world.add(*rng.sample(pods, len(pods)))
        world.now = 10.0
        rounds = [world.go(limit=7) for _ in range(12)]
        results.append((rounds, sorted(stories(world).items())))
    assert results[0] == results[1]


def stories(world: World) -> dict[str, str]:
    return {uid: str(story.code) for uid in world.queue._unit_of if (story := world.queue.story(uid))}
