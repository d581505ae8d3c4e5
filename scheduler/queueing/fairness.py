"""Whose turn it is: work within its guarantee first, then whoever borrows least by weight, level by level of the tree.

The ratio is that of `tenants.ledger.fair.dominant_share`, exact instead of in millionths (a pod of 100 milli-CPU is
less than a millionth of 5,000 nodes), and taken at every group above the tenant too, so that a group's weight counts
among groups and a member's among members (Kueue orders its cohorts alike). Within a guarantee, the tenant that has
used the smallest part of its own goes first: where less is there than was guaranteed, all shrink in proportion.
"""

from __future__ import annotations

from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge
from tenants.ledger.tree import ROOT, Tree
from tenants.model import Dimension

Key = tuple[float, ...]
NOTHING_GUARANTEED = float("inf")


class Fairness:
    """The order between tenants during one round, in which use only grows."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._wholes = {
            dimension: max(1, tree.guaranteed[ROOT], tree.usage[ROOT])
            for dimension, tree in ledger.forest.trees.items()
        }
        self._alone: dict[str, bool] = {}
        self._trees: dict[int, list[tuple[Tree, int, Dimension]]] = {}

    def key(self, charge: Charge, *, waited_long: bool) -> Key:
        """The smallest goes first. Who has waited long is measured by what it has, not by what it would have."""
        route = self._ledger.forest.route(charge)
        asked = {line.dimension: charge.amounts[line.amount][1] for line in route.lines if line.limits}
        used = self._part_of_guarantee(route.leaf, asked)
        if used <= 1:
            return 0.0, used
        more = {} if waited_long else asked
        path = self._ledger.forest.paths[route.leaf]
        return 1.0, *(self._share(node, more) for node in path)

    def within_guarantee(self, charge: Charge) -> bool:
        """Whether the tenant would stay within what it is guaranteed of everything that the pod asks."""
        return self.key(charge, waited_long=False)[0] == 0

    def is_alone(self, tenant: str) -> bool:
        """Whether no group is above the tenant, so that nobody else's use changes its key."""
        known = self._alone.get(tenant)
        if known is None:
            forest = self._ledger.forest
            known = self._alone[tenant] = len(forest.paths[forest.leaf(tenant)]) < 2
        return known

    def _part_of_guarantee(self, leaf: int, asked: dict[Dimension, int]) -> float:
        most = 0.0
        for dimension, amount in asked.items():
            tree = self._ledger.forest.trees[dimension]
            owned = tree.subtree[leaf]
            part = (tree.usage[leaf] + amount) / owned if owned > 0 else NOTHING_GUARANTEED
            most = max(most, part)
        return most

    def _share(self, node: int, more: dict[Dimension, int]) -> float:
        share = 0.0
        for tree, whole, dimension in self._of(node):
            borrowed = tree.usage[node] - tree.subtree[node] + more.get(dimension, 0)
            if borrowed > 0:
                share = max(share, borrowed / (whole * max(1, tree.weight[node])))
        return share

    def _of(self, node: int) -> list[tuple[Tree, int, Dimension]]:
        """The dimensions that anybody states at, above or below a node."""
        known = self._trees.get(node)
        if known is None:
            stated = self._stated(node)
            trees = self._ledger.forest.trees
            known = self._trees[node] = [
                (tree, self._wholes[dimension], dimension)
                for dimension, tree in trees.items()
                if dimension in stated
            ]
        return known

    def _stated(self, node: int) -> frozenset[Dimension]:
        forest = self._ledger.forest
        return forest.stated[node].union(*(self._stated(member) for member in forest.members[node]))
