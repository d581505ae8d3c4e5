"""Random crowded trees: every eviction keeps the laws, and rounds of fixed demand come to rest."""

from __future__ import annotations

import itertools
import sys
from random import Random

from tenants.ledger.answer import Admitted, Refused
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge
from tenants.ledger.reclaim import Eviction, claim, victims
from tenants.model import Allowance, Dimension, Group, Quota, Tenant
from tenants.quantity import UNLIMITED
from tests.support.ledger import CPU, MEMORY, make_charge, make_ledger

ROUNDS = 1_000
DIMENSIONS = (CPU, MEMORY)


def crowd(rng: Random) -> Ledger:
    """Groups and tenants of two resources, a pool that holds what is guaranteed and a little more."""
    nodes: list[Tenant | Group] = []
    sums = dict.fromkeys(DIMENSIONS, 0)
    for number in range(rng.randint(1, 3)):
        inside = dict.fromkeys(DIMENSIONS, 0)
        group = f"g{number}"
        for _ in range(rng.randint(1, 3)):
            quota = {d: allowance(rng, rng.randint(0, 10)) for d in DIMENSIONS}
            name = f"t{len(nodes)}"
            nodes.append(Tenant(name=name, parent=group, quota=quota, fence=rng.random() < 0.05))
            inside = {d: inside[d] + quota[d].guaranteed for d in DIMENSIONS}
        own: Quota = {d: allowance(rng, inside[d] + rng.randint(0, 6)) for d in DIMENSIONS}
        nodes.append(Group(name=group, quota=own, fence=rng.random() < 0.2))
        sums = {d: sums[d] + own[d].guaranteed for d in DIMENSIONS}
    return make_ledger(*nodes, offered={d.resource: sums[d] + rng.randint(0, 10) for d in DIMENSIONS})


def allowance(rng: Random, guaranteed: int) -> Allowance:
    most = guaranteed + rng.randint(0, 20) if rng.random() < 0.4 else UNLIMITED
    lend = rng.randint(0, guaranteed) if rng.random() < 0.3 else UNLIMITED
    return Allowance(guaranteed=guaranteed, max=most, lend=lend, weight=rng.randint(1, 3))


def demand(rng: Random, ledger: Ledger, count: int) -> list[Charge]:
    tenants = sorted(node.name for node in ledger.forest.nodes if node and node.tenant)
    return [
        make_charge(
            f"p{number}",
            rng.choice(tenants),
            priority=rng.randint(0, 2),
            born=number,
            application=rng.choice(["", "x", "y"]),
            cpu=rng.randint(0, 4),
            memory=rng.randint(0, 4),
        )
        for number in range(count)
    ]


def broken_laws(ledger: Ledger, ask: Charge, answer: Eviction) -> list[str]:
    """What the eviction does that the laws forbid, seen from the outside: by usage before and after."""
    found = []
    for victim in answer.victims:
        if victim.tenant == ask.tenant:
            found.append(f"{victim.uid} is of the tenant that asks")
        if victim.application and victim.application == ask.application:
            found.append(f"law 3: {victim.uid}")
        if victim.priority > ask.priority:
            found.append(f"law 6: {victim.uid}")
        if fence_of(ledger, ask.tenant) not in ("", *path(ledger, victim.tenant)):
            found.append(f"law 7: {victim.uid}")
    return found + broken_guarantees(ledger, ask, answer) + surplus(ledger, ask, answer)


def broken_guarantees(ledger: Ledger, ask: Charge, answer: Eviction) -> list[str]:
    """Laws 2, 4 and 5 in the dimensions that were short."""
    refusal = ledger.refusal(ask)
    if refusal is None:
        return []
    lacking = [shortage.dimension for shortage in refusal.shortages]
    losers = sorted({victim.tenant for victim in answer.victims})
    before = {name: ledger.usage(name) for name in losers}
    found = []
    with ledger.what_if():
        for victim in answer.victims:
            ledger.release(victim.uid)
        for name in losers:
            quota, now = guarantees(ledger, name), ledger.usage(name)
            if not any(before[name][d] > now[d] >= quota[d] for d in lacking):
                found.append(f"laws 2 and 5: {name} lost {before[name]} -> {now} of {quota}")
        ledger.record(ask)
        for name, dimension in itertools.product(losers, lacking):
            left = ledger.usage(name)[dimension]
            lost, under = before[name][dimension] - left, guarantees(ledger, name)[dimension] - left
            if min(lost, under) > max(0, ledger.available(name, dimension)):
                found.append(f"law 2: {name} is {under} of {dimension} under, and cannot have it back")
        for dimension in lacking:
            tree = ledger.forest.trees[dimension]
            ours = tree.paths[ledger.forest.leaf(ask.tenant)]
            if answer.victims and all(tree.borrowed(node) > 0 for node in ours):
                found.append(f"law 4: {ask.tenant} borrows {dimension} and still evicts")
    return found


def guarantees(ledger: Ledger, tenant: str) -> dict[Dimension, int]:
    number = ledger.forest.number_of[tenant]
    return {dimension: tree.guaranteed[number] for dimension, tree in ledger.forest.trees.items()}


def surplus(ledger: Ledger, ask: Charge, answer: Eviction) -> list[str]:
    """All of them suffice, and without any one of them they do not."""
    with ledger.what_if():
        for victim in answer.victims:
            ledger.release(victim.uid)
        if ledger.refusal(ask) is not None:
            return ["the victims do not suffice"]
        found = []
        for victim in answer.victims:
            with ledger.what_if():
                ledger.record(victim)
                if ledger.refusal(ask) is None:
                    found.append(f"{victim.uid} could be spared")
        return found


def path(ledger: Ledger, tenant: str) -> list[str]:
    numbers = ledger.forest.paths[ledger.forest.leaf(tenant)]
    return [ledger.forest.names[number] for number in numbers]


def fence_of(ledger: Ledger, tenant: str) -> str:
    nodes = [ledger.forest.nodes[ledger.forest.number_of[name]] for name in path(ledger, tenant)]
    return next((node.name for node in reversed(nodes) if node and node.fence), "")


def test_every_eviction_keeps_the_laws() -> None:
    evictions, found = 0, []
    for seed in range(400):
        rng = Random(seed)  # noqa: S311  # a reproducible mix, no secret
        ledger = crowd(rng)
        for charge in demand(rng, ledger, 60):
            if isinstance(ledger.admit(charge), Admitted):
                continue
            answer = victims(ledger, charge)
            if isinstance(answer, Eviction):
                evictions += 1
                found += [f"seed {seed}: {law}" for law in broken_laws(ledger, charge, answer)]
                claim(ledger, charge, answer)
                for victim in answer.victims:
                    ledger.release(victim.uid)
                assert isinstance(ledger.admit(charge), Admitted)
        ledger.verify()
    sys.stdout.write(f"{evictions} evictions, {len(found)} broken laws\n")
    assert found == []
    assert evictions > 400, "the crowd is too small to need evictions"


def one_round(ledger: Ledger, wanted: list[Charge]) -> int:
    """Everybody who waits asks once, and evicts where it may; the evicted wait. Answers how many pods moved."""
    moves = 0
    for charge in wanted:
        if charge.uid in ledger.entries:
            continue
        if isinstance(ledger.admit(charge), Refused):
            answer = victims(ledger, charge)
            if isinstance(answer, Refused):
                continue
            claim(ledger, charge, answer)
            for victim in answer.victims:
                ledger.release(victim.uid)
            assert isinstance(ledger.admit(charge), Admitted)
            moves += len(answer.victims)
        moves += 1
    return moves


def test_fixed_demand_comes_to_rest_within_1_000_rounds() -> None:
    last = 0
    for seed in range(300):
        rng = Random(seed)  # noqa: S311  # a reproducible mix, no secret
        ledger = crowd(rng)
        wanted = demand(rng, ledger, 60)
        rng.shuffle(wanted)
        for number in range(ROUNDS):
            if one_round(ledger, wanted) == 0:
                last = max(last, number)
                break
        else:
            raise AssertionError(f"seed {seed}: pods still move after {ROUNDS} rounds")
    sys.stdout.write(f"300 crowds at rest; the slowest after {last} of {ROUNDS} rounds\n")


def test_everybody_has_its_guarantee_after_three_rounds() -> None:
    """Pods of one unit and one priority, no fence: nothing but the guarantee decides."""
    for seed in range(200):
        rng = Random(seed)  # noqa: S311  # a reproducible mix, no secret
        guaranteed = {name: rng.randint(0, 6) for name in "abcde"}
        tenants = [Tenant(name=n, quota={CPU: Allowance(guaranteed=g)}) for n, g in guaranteed.items()]
        ledger = make_ledger(*tenants, offered={"cpu": sum(guaranteed.values()) + rng.randint(0, 3)})
        wanted = [
            make_charge(f"{name}-{n}", name, born=n) for name in "abcde" for n in range(rng.randint(0, 9))
        ]
        rng.shuffle(wanted)
        for _ in range(3):
            one_round(ledger, wanted)
        for name, guarantee in guaranteed.items():
            demanded = sum(charge.tenant == name for charge in wanted)
            assert ledger.usage(name)[CPU] >= min(guarantee, demanded), f"seed {seed}: {name}"


def test_two_borrowers_do_not_take_turns() -> None:
    ledger = make_ledger(
        Tenant(name="a", quota={CPU: Allowance(guaranteed=5)}),
        Tenant(name="b", quota={CPU: Allowance(guaranteed=5)}),
        offered={"cpu": 14},
    )
    wanted = [make_charge(f"{name}-{number}", name, cpu=3) for number in range(4) for name in "ab"]
    moves = [one_round(ledger, wanted) for _ in range(ROUNDS)]
    assert sum(moves[1:]) == 0
    assert sum(moves) == 4
