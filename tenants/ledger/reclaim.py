"""Whom to evict so that a tenant gets its guarantee back. Pure; the scheduler evicts, then `claim`s the room.

The laws (YuniKorn's, docs/design/preemption.md), held by the property tests one by one:

1. An answer is a suggestion: nothing changes until the caller acts, and asking again sees what left meanwhile.
2. Nobody is left below a guarantee in a dimension that is being reclaimed, unless it could take it back at once.
3. Pods of one application never evict one another.
4. Only who is under its guarantee may ask, in every dimension that it lacks.
5. A victim's tenant is over its guarantee, and so is every group above it up to the one it shares with who asks.
6. A victim has lower or equal priority.
7. Nothing outside the innermost fence around who asks is evicted; a fence does not protect what it holds.

All or nothing, and no victim that the room could spare. Room that is being freed already is waited for, not freed
twice. A group that is under its guarantee reclaims through its members, from outside the group.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Container, Mapping
from typing import NamedTuple

import msgspec

from tenants.ledger.answer import Reason, Refused, Shortage
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge, Phase
from tenants.ledger.fair import dominant_share
from tenants.ledger.tree import ROOT, Tree
from tenants.model import Dimension

_HOPELESS = frozenset({Reason.NO_SUCH_TENANT, Reason.DIMENSION_NOT_STATED, Reason.EXCEEDS_MAX_QUOTA})


class Eviction(msgspec.Struct, frozen=True):
    """Pods whose end makes room, in the order in which they were chosen; none = wait for those that are leaving."""

    victims: tuple[Charge, ...]


def victims(ledger: Ledger, charge: Charge, protected: Container[str] = ()) -> Eviction | Refused:
    """The pods to evict so that `charge` can be admitted, or why nobody is evicted. Leaves `ledger` as it is.

    `protected`: UIDs that must stay for a reason of their own, such as a PodDisruptionBudget.
    """
    with ledger.what_if():
        known = ledger.entries.get(charge.uid)
        held = known.charge if known and known.phase is not Phase.CLAIMED else None
        ledger.release(charge.uid)
        for uid, entry in list(ledger.entries.items()):
            if entry.phase is Phase.TERMINATING:
                ledger.release(uid)
        refusal = ledger.refusal(charge, held)
        if refusal is None:
            return Eviction(())
        barred = _barred(ledger, charge, refusal)
        if barred is not None:
            return barred
        for largest_first in (False, True):
            search = _Search(ledger, charge, refusal, held, protected, largest_first=largest_first)
            chosen = search.run()
            if chosen:
                return Eviction(tuple(chosen))
        return Refused(charge.uid, charge.tenant, Reason.NOT_ENOUGH_VICTIMS, refusal.shortages)


def claim(ledger: Ledger, charge: Charge, eviction: Eviction) -> None:
    """Act on an answer: the victims are leaving, and what they free is kept for `charge` until it is admitted.

    A pod that wants to grow keeps what it holds and claims nothing: others may be faster. A claim that nobody wants
    any more is released like a pod.
    """
    for victim in eviction.victims:
        ledger.terminate(victim.uid)
    known = ledger.entries.get(charge.uid)
    if known is None or known.phase is Phase.CLAIMED:
        ledger.record(charge, Phase.CLAIMED)


def _barred(ledger: Ledger, charge: Charge, refusal: Refused) -> Refused | None:
    """Why this tenant may not reclaim at all."""
    if refusal.reason in _HOPELESS:
        return refusal
    node = ledger.forest.nodes[ledger.forest.leaf(charge.tenant)]
    if node is not None and not node.reclaim:
        return Refused(charge.uid, charge.tenant, Reason.RECLAIM_DISABLED, refusal.shortages)
    if not all(_Lack(ledger, charge, shortage).within for shortage in refusal.shortages):
        return Refused(charge.uid, charge.tenant, Reason.NOT_UNDER_GUARANTEE, refusal.shortages)
    return None


class _Rank(NamedTuple):
    """The order of victims among tenants that are equally far over their fair share."""

    size: int  # how much of what is lacking it gives, negative; 0 unless the largest go first
    priority: int
    born: int
    uid: str


class _Lack:
    """One dimension that `charge` lacks: who decides, and which nodes above it would stay within their guarantee."""

    def __init__(self, ledger: Ledger, charge: Charge, shortage: Shortage) -> None:
        self.dimension, self.asked = shortage.dimension, shortage.asked
        self.tree: Tree = ledger.forest.trees[shortage.dimension]
        self.decider = ledger.forest.number_of[shortage.node]
        leaf = ledger.forest.leaf(charge.tenant)
        path = self.tree.paths[leaf]
        below = [node for node in path if node > self.decider]  # numbers grow on the way down
        self.tree.shift(leaf, shortage.asked)
        self.within = frozenset(node for node in below if self.tree.borrowed(node) <= 0)
        self.tree.shift(leaf, -shortage.asked)

    def margin(self, victim_branch: tuple[int, ...]) -> int:
        """How much a tenant may lose before it, or a group above it up to the shared one, is at its guarantee."""
        return min((self.tree.borrowed(node) for node in victim_branch), default=self.tree.usage[ROOT])


class _Search:
    """One greedy search, on a ledger that is given back as it was found."""

    def __init__(self, ledger: Ledger, charge: Charge, refusal: Refused, held: Charge | None,
                 protected: Container[str], *, largest_first: bool) -> None:  # fmt: skip
        self.ledger, self.charge, self.held, self.protected = ledger, charge, held, protected
        self.largest_first = largest_first
        self.path = self._path(charge.tenant)
        fenced = [number for number in self.path if (node := ledger.forest.nodes[number]) and node.fence]
        self.fence = fenced[-1] if fenced else ROOT
        self.lacking = {shortage.dimension: shortage.asked for shortage in refusal.shortages}
        self.queues: dict[str, list[tuple[_Rank, Mapping[Dimension, int]]]] = {}

    def run(self) -> list[Charge]:
        """The victims, or none when they would not suffice."""
        with self.ledger.what_if():
            chosen: list[Charge] = []
            while refusal := self.ledger.refusal(self.charge, self.held):
                lacks = [_Lack(self.ledger, self.charge, shortage) for shortage in refusal.shortages]
                victim = self._next(lacks)
                if victim is None:
                    return []
                chosen.append(victim)
                self.ledger.release(victim.uid)
            return self._spare(chosen)

    def _spare(self, chosen: list[Charge]) -> list[Charge]:
        """Without those that turn out not to be needed; the most important are spared first."""
        for victim in sorted(chosen, key=lambda one: (-one.priority, one.born, one.uid)):
            self.ledger.record(victim)
            others = [one for one in chosen if one is not victim]
            if self.ledger.refusal(self.charge, self.held) is None and self._lawful_loss(others):
                chosen = others
            else:
                self.ledger.release(victim.uid)
        return chosen

    def _lawful_loss(self, gone: list[Charge]) -> bool:
        """Whether all who lost something that was lacking keep their guarantee, or could have it again at once."""
        lost: Counter[tuple[int, Dimension]] = Counter()
        for victim in gone:
            path, cost = self._path(victim.tenant), self.ledger.amounts(victim)
            for dimension in self.lacking.keys() & cost.keys():
                for node in path[self._fork(path) :]:
                    lost[node, dimension] += cost[dimension]
        with self.ledger.what_if():
            self.ledger.record(self.charge)
            trees = self.ledger.forest.trees
            return all(
                min(amount, -trees[dimension].borrowed(node))
                <= max(0, trees[dimension].available(node).amount)
                for (node, dimension), amount in lost.items()
            )

    def _next(self, lacks: list[_Lack]) -> Charge | None:
        """The next victim, of those most over their fair share; with largest first, of everybody."""
        payers = [
            (0 if self.largest_first else dominant_share(self.ledger, tenant), tenant, margins)
            for tenant in self.ledger.uids_of
            if (margins := self._margins(tenant, lacks))
        ]
        payers.sort(key=lambda payer: -payer[0])
        for _, equals in itertools.groupby(payers, key=lambda payer: payer[0]):
            found = [self._first(tenant, margins) for _, tenant, margins in equals]
            fitting = [rank for rank in found if rank is not None]
            if fitting:
                return self.ledger.entries[min(fitting).uid].charge
        return None

    def _first(self, tenant: str, margins: Mapping[Dimension, int]) -> _Rank | None:
        """The first pod of a tenant that helps and is covered by what the tenant has too much."""
        for rank, cost in self._queue(tenant):
            taken = [(cost[dimension], margin) for dimension, margin in margins.items() if dimension in cost]
            if (
                taken
                and all(amount <= margin for amount, margin in taken)
                and rank.uid in self.ledger.entries
            ):
                return rank
        return None

    def _queue(self, tenant: str) -> list[tuple[_Rank, Mapping[Dimension, int]]]:
        """The lawful victims of a tenant in their order, found once."""
        if tenant not in self.queues:
            held = [entry.charge for entry in self.ledger.held_by(tenant) if entry.phase is Phase.HELD]
            costs = [(charge, self.ledger.amounts(charge)) for charge in held if self._lawful(charge)]
            ranked = [(self._rank(charge, cost), cost) for charge, cost in costs]
            self.queues[tenant] = sorted(ranked, key=lambda one: one[0])
        return self.queues[tenant]

    def _margins(self, tenant: str, lacks: list[_Lack]) -> dict[Dimension, int]:
        """What the tenant may lose per dimension in which it is over; empty when nothing may be taken."""
        path = self._path(tenant)
        if tenant == self.charge.tenant or self.fence not in path:
            return {}
        fork = self._fork(path)
        shared, own, branch = self.path[:fork], self.path[fork], path[fork:]
        relevant = [lack for lack in lacks if lack.decider in shared]
        if any(own not in lack.within for lack in relevant):
            return {}
        margins = {lack.dimension: lack.margin(branch) for lack in relevant}
        return margins if any(margin > 0 for margin in margins.values()) else {}

    def _fork(self, path: tuple[int, ...]) -> int:
        """Where the way to a victim parts from the way to who asks."""
        return next(index for index, node in enumerate(self.path) if node not in path)

    def _lawful(self, victim: Charge) -> bool:
        if victim.uid in self.protected:
            return False
        related = victim.application != "" and victim.application == self.charge.application
        return victim.priority <= self.charge.priority and not related

    def _rank(self, victim: Charge, cost: Mapping[Dimension, int]) -> _Rank:
        size = 0
        if self.largest_first:
            size = sum(min(cost.get(d, 0), asked) * 1000 // asked for d, asked in self.lacking.items())
        return _Rank(-size, victim.priority, -victim.born, victim.uid)

    def _path(self, tenant: str) -> tuple[int, ...]:
        return (ROOT, *self.ledger.forest.paths[self.ledger.forest.leaf(tenant)])
