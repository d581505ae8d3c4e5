"""What would be fair: weighted water-filling, and the dominant share that orders borrowers. Pure.

Reports show `shares`; the queue takes pods in `borrowing_order`; `reclaim` evicts by `dominant_share`. None of them
limits anything: limits are the ledger's.

Water-filling as Koordinator's elastic quota describes it: everybody first gets what is guaranteed and wanted; the
rest is split by weight, what exceeds a wish is taken back and split again. Integers by largest remainder, so that
the sum is exact and nobody falls under a guarantee by rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge
from tenants.ledger.tree import ROOT, Tree
from tenants.model import Dimension
from tenants.quantity import CEILING, UNLIMITED

SHARE_UNIT = 1_000_000


class Wish(NamedTuple):
    """What one party wants, is guaranteed, and weighs among borrowers."""

    wanted: int
    guaranteed: int = 0
    weight: int = 1


def water_fill(total: int, wishes: Sequence[Wish]) -> list[int]:
    """The fair share of each wish, in their order; they add up to min(total, what all want)."""
    floors = [min(wish.wanted, wish.guaranteed) for wish in wishes]
    if sum(floors) >= total:  # less is there than was guaranteed: guarantees shrink in proportion
        return _pour(total, floors, floors)
    above = [wish.wanted - floor for wish, floor in zip(wishes, floors, strict=True)]
    extra = _pour(total - sum(floors), above, [wish.weight for wish in wishes])
    return [floor + more for floor, more in zip(floors, extra, strict=True)]


def split(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole parts proportional to `weights`; the largest remainders get what is left, then the first."""
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda index: -(total * weights[index] % whole))
    for index in by_remainder[: total - sum(parts)]:
        parts[index] += 1
    return parts


def _pour(amount: int, limits: Sequence[int], weights: Sequence[int]) -> list[int]:
    given = [0] * len(limits)
    thirsty = [index for index, limit in enumerate(limits) if limit and weights[index]]
    while amount > 0 and thirsty:
        for index, part in zip(thirsty, split(amount, [weights[i] for i in thirsty]), strict=True):
            given[index] += part
        amount = sum(max(0, given[index] - limits[index]) for index in thirsty)
        for index in thirsty:
            given[index] = min(given[index], limits[index])
        thirsty = [index for index in thirsty if given[index] < limits[index]]
    return given


def shares(ledger: Ledger, dimension: Dimension, wanted: Mapping[str, int]) -> dict[str, int]:
    """Fair share of every tenant and group, from the pool downwards; `wanted` is per tenant, 0 where absent.

    Reserves that are not lent count as wanted by their owner: nobody else can have them.
    """
    tree = ledger.forest.trees.get(dimension)
    if tree is None:
        return {}
    wishes = _wishes(ledger, tree, wanted)
    share = [0] * len(wishes)
    share[ROOT] = tree.guaranteed[ROOT] if tree.bounded else wishes[ROOT].wanted
    for node in range(len(share)):
        members = ledger.forest.members[node]
        for member, part in zip(members, water_fill(share[node], [wishes[m] for m in members]), strict=True):
            share[member] = part
    return {
        name: min(share[number], wanted.get(name, 0)) if node.tenant else share[number]
        for number, (name, node) in enumerate(zip(ledger.forest.names, ledger.forest.nodes, strict=True))
        if node is not None
    }


def _wishes(ledger: Ledger, tree: Tree, wanted: Mapping[str, int]) -> list[Wish]:
    sums = [wanted.get(name, 0) for name in ledger.forest.names]
    wishes = [Wish(0)] * len(sums)
    for node in range(len(sums) - 1, -1, -1):
        reserve = tree.local[node] + tree.guaranteed[node] - tree.subtree[node]
        most = tree.maximum(node)
        wish = max(sums[node], reserve)
        wish = wish if most is UNLIMITED else min(wish, most)
        wishes[node] = Wish(wish, tree.guaranteed[node], tree.weight[node])
        if node != ROOT:
            sums[tree.parents[node]] += wish
    return wishes


def dominant_share(ledger: Ledger, tenant: str, more: Charge | None = None) -> int:
    """How far a tenant is over its guarantee: the largest ratio of borrowed to what the pool holds, by weight.

    In millionths; 0 = borrows nothing. `more` is counted in. A tenant that is gone borrows all it has.
    """
    leaf = ledger.forest.leaf(tenant)
    if leaf == ROOT:
        return CEILING
    added = ledger.amounts(more) if more else {}
    return max(
        (_ratio(tree, leaf, added.get(dimension, 0)) for dimension, tree in ledger.forest.trees.items()),
        default=0,
    )


def _ratio(tree: Tree, leaf: int, added: int) -> int:
    borrowed = max(0, tree.borrowed(leaf) + added)
    whole = max(1, tree.guaranteed[ROOT], tree.usage[ROOT])
    return borrowed * SHARE_UNIT // (whole * max(1, tree.weight[leaf]))


def borrowing_order(ledger: Ledger, pending: Iterable[Charge]) -> list[Charge]:
    """Who goes first: work within its guarantee, then whoever borrows least; then priority, age, UID."""
    return sorted(
        pending,
        key=lambda one: (dominant_share(ledger, one.tenant, one), -one.priority, one.born, one.uid),
    )
