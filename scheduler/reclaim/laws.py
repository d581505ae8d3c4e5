"""May this pod be evicted for that one? The laws of `tenants.ledger.reclaim`, asked pod by pod for room on a node.

`dimensions` are those being reclaimed: what the asking tenant lacks of quota, and what the node lacks of room.
"""

from __future__ import annotations

from collections.abc import Iterable

from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge, Phase
from tenants.ledger.fair import dominant_share
from tenants.ledger.tree import ROOT
from tenants.model import Dimension


class Laws:
    """The laws as they are for one pod that asks; `ledger`, without the asking pod, is read at each call.

    Args:
        within_tenant: a pod of the same tenant may go if its priority is strictly lower (Kubernetes' own preemption).
    """

    def __init__(
        self, ledger: Ledger, charge: Charge, dimensions: Iterable[Dimension], *, within_tenant: bool
    ) -> None:
        self._ledger, self._charge, self._within_tenant = ledger, charge, within_tenant
        self._asked = ledger.amounts(charge)
        self.dimensions = frozenset(dimensions) & self._asked.keys()
        self._path = self._path_of(charge.tenant)
        fenced = [n for n in self._path if (node := ledger.forest.nodes[n]) is not None and node.fence]
        self._fence = fenced[-1] if fenced else ROOT
        leaf = ledger.forest.nodes[ledger.forest.leaf(charge.tenant)]
        self._reclaims = leaf is not None and leaf.reclaim

    def allow(self, uid: str) -> bool:
        """Whether the pod may go, after those that were released from the ledger already."""
        entry = self._ledger.entries.get(uid)
        if entry is None or entry.phase is not Phase.HELD or uid == self._charge.uid:
            return False
        victim, mine = entry.charge, self._charge
        if victim.application and victim.application == mine.application:
            return False
        if victim.tenant == mine.tenant:
            return self._within_tenant and victim.priority < mine.priority
        return victim.priority <= mine.priority and self._reclaims and self._covered(victim)

    def order(self, uid: str) -> tuple[bool, int, int, int, str]:
        """Own pods first, then those of whoever is most over its fair share; low priority, then newest."""
        victim = self._ledger.entries[uid].charge
        mine = victim.tenant == self._charge.tenant
        share = 0 if mine else dominant_share(self._ledger, victim.tenant)
        return not mine, -share, victim.priority, -victim.born, uid

    def _covered(self, victim: Charge) -> bool:
        """Its tenant, and every group of it that the asking one is not in, stays at its guarantee or over it."""
        path = self._path_of(victim.tenant)
        if self._fence not in path:
            return False
        fork = next(index for index, node in enumerate(self._path) if node not in path)
        cost, trees = self._ledger.amounts(victim), self._ledger.forest.trees
        if not self._is_under_guarantee(self._path[fork]):
            return False
        taken = [dimension for dimension in self.dimensions if dimension in cost]
        for dimension in taken:
            tree = trees[dimension]
            margin = min((tree.borrowed(node) for node in path[fork:]), default=tree.usage[ROOT])
            if cost[dimension] > margin:
                return False
        return bool(taken)

    def _is_under_guarantee(self, node: int) -> bool:
        """With the pod, `node` stays within what it brings of everything that is being reclaimed."""
        trees = self._ledger.forest.trees
        return all(
            trees[dimension].borrowed(node) + self._asked[dimension] <= 0 for dimension in self.dimensions
        )

    def _path_of(self, tenant: str) -> tuple[int, ...]:
        forest = self._ledger.forest
        return (ROOT, *forest.paths[forest.leaf(tenant)])
