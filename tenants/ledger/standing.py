"""Where everybody stands: used, guaranteed, borrowed, lent, per tenant, group and dimension. Pure; for reports.

`borrowed` is what a node uses beyond what it brings. `lent` is how much of its idle guarantee others use now.
Whatever is borrowed comes first out of what nobody is guaranteed (the extra of the group or pool), then out of
the members' idle guarantees in proportion, then from above, so that for every group

    sum of lent(members) + extra used = sum of borrowed(members) + lent(group) - borrowed(group)
"""

from __future__ import annotations

import msgspec

from tenants.ledger.book import Ledger
from tenants.ledger.fair import split
from tenants.ledger.tree import ROOT, Tree
from tenants.model import Dimension
from tenants.quantity import CEILING, Limit


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One tenant or group in one dimension, in the units of `quantity.UNITS`; `available` may be negative."""

    name: str
    parent: str
    dimension: Dimension
    used: int
    guaranteed: int
    max: Limit
    borrowed: int
    lent: int
    available: int


def standings(ledger: Ledger) -> list[Standing]:
    """Every tenant and group in every dimension that it or somebody above states, by dimension and name."""
    found = []
    for dimension, tree in ledger.forest.trees.items():
        lent = _lent(tree, ledger.forest.members)
        for number, node in enumerate(ledger.forest.nodes):
            if node is not None and dimension in ledger.forest.stated[number]:
                found.append(
                    Standing(
                        name=node.name,
                        parent=node.parent,
                        dimension=dimension,
                        used=tree.total(number),
                        guaranteed=tree.guaranteed[number],
                        max=tree.maximum(number),
                        borrowed=max(0, tree.borrowed(number)),
                        lent=lent[number],
                        available=tree.available(number).amount,
                    )
                )
    return sorted(found, key=lambda one: (one.dimension, one.name))


def lent(ledger: Ledger, dimension: Dimension) -> list[int]:
    """What others use now of each node's idle guarantee, by node number."""
    return _lent(ledger.forest.trees[dimension], ledger.forest.members)


def _lent(tree: Tree, family: list[list[int]]) -> list[int]:
    lent = [0] * len(tree.parents)
    for node in range(len(lent)):
        members = family[node]
        idle = [max(0, tree.subtree[m] - max(tree.local[m], tree.usage[m])) for m in members]
        drawn = _drawn_from_members(tree, node, members, lent[node])
        for member, part in zip(members, split(min(drawn, sum(idle)), idle), strict=True):
            lent[member] = part
    return lent


def _drawn_from_members(tree: Tree, node: int, members: list[int], lent: int) -> int:
    """What borrowers in and above `node` take of its members' guarantees."""
    borrowed = sum(max(0, tree.borrowed(member)) for member in members)
    passed = sum(max(0, tree.usage[member] - tree.local[member]) for member in members)
    strangers = tree.usage[node] - passed if node == ROOT else 0  # pods whose tenant is gone
    extra = tree.guaranteed[node] - sum(tree.guaranteed[member] for member in members)
    if node == ROOT and not tree.bounded:
        extra = CEILING  # the nodes may hold more than anybody is guaranteed: nothing is known to be lent
    return max(0, borrowed + strangers + lent - max(0, tree.borrowed(node)) - extra)
