"""Whom to evict so that one pod gets quota and a node: minimal, all or nothing, within the laws and budgets. Pure.

READ THIS FIRST. `Reclaim.plan` is for a guaranteed pod that waits, `Reclaim.preempt` for the verb of the extender; both
ask the same question of a node. Where room exists anyway, the ledger chooses the victims alone; else pods of one node
must go, and if quota is lacking still, the ledger adds others. The caller evicts, then `claim`s
(`tenants.ledger.reclaim.claim`) and tells the queue which node to expect.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

import msgspec

from scheduler.model import Reason as Room
from scheduler.placement.demand import Demand
from scheduler.placement.state import ClusterState
from scheduler.queueing.waiting import Waiting
from scheduler.reclaim.budgets import Budgets
from scheduler.reclaim.laws import Laws
from scheduler.reclaim.nodes import Nodes
from tenants.ledger.answer import Refused
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge, Phase
from tenants.ledger.reclaim import victims
from tenants.model import Dimension

MOST_NODES = 256
"""So many nodes are compared per plan, the nearest to having room first; a bound on the work of one plan."""


class NoPlanCode(enum.StrEnum):
    """Why nobody is evicted."""

    CLAIMED = "ClaimedAlready"  # the victims of an earlier plan are leaving
    NOT_NEEDED = "NotNeeded"  # quota and room are there
    QUOTA = "NoLawfulVictimsForQuota"
    ROOM = "NoLawfulVictimsForRoom"


class Plan(msgspec.Struct, frozen=True):
    """Evict these for `uid`; `node` is where the pod will fit, "" where there is room somewhere anyway."""

    uid: str
    victims: tuple[str, ...]
    node: str
    reason: str


class NoPlan(msgspec.Struct, frozen=True):
    """Evict nobody."""

    uid: str
    code: NoPlanCode
    detail: str = ""


class Reclaim:
    """Plans on one state of ledger and cluster; make a new one after either changed. `ledger` is left as it is."""

    def __init__(self, ledger: Ledger, state: ClusterState, budgets: Budgets | None = None) -> None:
        self._ledger = ledger
        self._nodes = Nodes(state)
        self._budgets = budgets or Budgets()

    def plan(self, asking: Waiting) -> Plan | NoPlan:
        """The smallest lawful eviction that lets a waiting pod go."""
        known = self._ledger.entries.get(asking.uid)
        if known is not None and known.phase is Phase.CLAIMED:
            return NoPlan(asking.uid, NoPlanCode.CLAIMED)
        demand = self._nodes.demand(asking.shape)
        suitable = self._nodes.suitable(demand)[:MOST_NODES]
        gone = self._leaving()
        if any(self._nodes.reason(node, demand, gone) is Room.FITS for node in suitable):
            return self._plan_for_quota(asking)
        found = []
        for node in suitable:
            chosen = self._on_node(asking, demand, node, (), within_tenant=False)
            if chosen is not None:
                found.append((_cost(chosen), node, chosen))
        if not found:
            return NoPlan(asking.uid, NoPlanCode.ROOM, f"{len(suitable)} nodes were looked at")
        _, node, best = min(found, key=lambda one: one[:2])
        return Plan(asking.uid, _uids(best), node, f"{len(best)} victims make room on {node}")

    def preempt(self, asking: Waiting, candidates: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """The candidates that the laws leave, each with lawful victims that suffice: those proposed first."""
        demand = self._nodes.demand(asking.shape)
        found: dict[str, list[str]] = {}
        if demand.admission.refusal:
            return found
        for node, proposed in candidates.items():
            if node in self._nodes.state.number_of:
                chosen = self._on_node(asking, demand, node, proposed, within_tenant=True)
                if chosen is not None:
                    found[node] = list(_uids(chosen))
        return found

    # --- quota alone ----------------------------------------------------------------------------------------

    def _plan_for_quota(self, asking: Waiting) -> Plan | NoPlan:
        answer = self._quota_victims(asking, ())
        if isinstance(answer, Refused):
            return NoPlan(asking.uid, NoPlanCode.QUOTA, str(answer))
        if not answer:
            return NoPlan(asking.uid, NoPlanCode.NOT_NEEDED)
        return Plan(
            asking.uid, _uids(answer), "", f"{len(answer)} victims give quota back to {asking.tenant}"
        )

    def _quota_victims(self, asking: Waiting, gone: Sequence[str]) -> list[Charge] | Refused:
        """Whom the ledger evicts, none of whom a budget protects when `gone` go too."""
        protected: set[str] = set()
        while True:
            answer = victims(self._ledger, asking.charge, protected)
            if isinstance(answer, Refused):
                return answer
            uids = [victim.uid for victim in answer.victims]
            over = set(self._budgets.over([*gone, *uids])) & set(uids)
            if not over:
                return list(answer.victims)
            protected |= over

    # --- one node -------------------------------------------------------------------------------------------

    def _on_node(self, asking: Waiting, demand: Demand, node: str, proposed: Sequence[str], *,
                 within_tenant: bool) -> list[Charge] | None:  # fmt: skip
        """Lawful victims that give the pod this node and its quota, or None."""
        with self._ledger.what_if():
            leaving = self._leaving()
            for uid in (*leaving, asking.uid):
                self._ledger.release(uid)
            reclaimed = self._reclaimed(asking, node, demand)
            laws = Laws(self._ledger, asking.charge, reclaimed, within_tenant=within_tenant)
            chosen = self._make_room(laws, demand, node, proposed, leaving)
            if chosen is None:
                return None
            more = self._quota_victims(asking, [victim.uid for victim in chosen])
            if isinstance(more, Refused):
                return None
            for victim in more:
                self._ledger.release(victim.uid)
            return [*self._spare(asking, demand, node, chosen, leaving), *more]

    def _reclaimed(self, asking: Waiting, node: str, demand: Demand) -> set[Dimension]:
        """The dimensions that the node has too little of, and those in which quota is lacking."""
        refusal = self._ledger.refusal(asking.charge)
        lacking = {shortage.dimension for shortage in refusal.shortages} if refusal else set()
        short = self._nodes.short_of(node, demand)
        return lacking | {one for one in self._ledger.amounts(asking.charge) if one.resource in short}

    def _make_room(self, laws: Laws, demand: Demand, node: str, proposed: Sequence[str],
                   leaving: set[str]) -> list[Charge] | None:  # fmt: skip
        """Release one after the other from the ledger until the node takes the pod."""
        chosen: dict[str, Charge] = {}
        barred: set[str] = set()
        while self._nodes.reason(node, demand, {*chosen, *leaving}) is not Room.FITS:
            lawful = [
                uid
                for uid in self._nodes.pods_on(node)
                if uid not in barred and uid not in chosen and laws.allow(uid)
            ]
            if not lawful:
                return None
            best = min(lawful, key=lambda uid: (uid not in proposed, laws.order(uid)))
            if self._budgets.over([*chosen, best]):
                barred.add(best)
                continue
            chosen[best] = self._ledger.entries[best].charge
            self._ledger.release(best)
        return list(chosen.values())

    def _spare(self, asking: Waiting, demand: Demand, node: str, chosen: list[Charge],
               leaving: set[str]) -> list[Charge]:  # fmt: skip
        """Without those that node and quota do not need after all; the most important are spared first."""
        for victim in sorted(chosen, key=lambda one: (-one.priority, one.born, one.uid)):
            rest = [one for one in chosen if one is not victim]
            self._ledger.record(victim)
            fits = self._nodes.reason(node, demand, {*(one.uid for one in rest), *leaving}) is Room.FITS
            if fits and self._ledger.refusal(asking.charge) is None:
                chosen = rest
            else:
                self._ledger.release(victim.uid)
        return chosen

    def _leaving(self) -> set[str]:
        return {uid for uid, entry in self._ledger.entries.items() if entry.phase is Phase.TERMINATING}


def _cost(chosen: Sequence[Charge]) -> tuple[int, list[int], int]:
    """Few victims, unimportant ones, new ones."""
    return (
        len(chosen),
        sorted((one.priority for one in chosen), reverse=True),
        -sum(one.born for one in chosen),
    )


def _uids(chosen: Sequence[Charge]) -> tuple[str, ...]:
    return tuple(victim.uid for victim in chosen)
