"""The queue of pods that wait for quota and room. READ THIS FIRST. One owner; no clock: seconds come in.

`round` answers who goes now and whose reason to wait changed. Everything else is bookkeeping: pods arrive (`add`),
vanish at any time (`discard`), are found past the queue already (`settled`), and ask why they wait (`story`).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator

import msgspec

from scheduler.queueing import stories
from scheduler.queueing.fairness import Fairness
from scheduler.queueing.hold import Hold, Kept
from scheduler.queueing.line import Line
from scheduler.queueing.room import Room
from scheduler.queueing.round import Round
from scheduler.queueing.unit import Place, Unit
from scheduler.queueing.waiting import Code, Outcome, Story, Waiting, Waits
from tenants.ledger.book import Ledger
from tenants.ledger.forest import Quotas

PATIENCE_S = 60.0
WAITS_FOR_OTHERS = frozenset({Code.WAITING_FOR_QUOTA, Code.NO_ROOM, Code.HOLDS_NODE})
GroupKey = tuple[str, str, str]


class TenantSummary(msgspec.Struct, frozen=True):
    """What of one tenant waits: how many, since when (seconds), and why."""

    waiting: int
    oldest: float
    codes: dict[str, int]


class Queue:
    """Every waiting pod, by tenant.

    Args:
        patience_s: whoever waits longer gets quota and a node kept, so that a stream of small pods cannot starve it.
        holds: how many nodes may be kept at once.
    """

    def __init__(self, *, patience_s: float = PATIENCE_S, holds: int = 1) -> None:
        self._patience_s = patience_s
        self._lines: dict[str, Line] = {}
        self._unit_of: dict[str, Unit] = {}
        self._settled: dict[GroupKey, set[str]] = {}
        self._group_of: dict[str, GroupKey] = {}
        self._hold = Hold(holds)
        self._tried: set[str] = set()
        self._told: dict[str, Code] = {}
        self._to_tell: dict[str, None] = {}
        self._quotas: Quotas | None = None

    def __len__(self) -> int:
        return len(self._unit_of)

    def __contains__(self, uid: str) -> bool:
        return uid in self._unit_of

    # --- pods come and go -----------------------------------------------------------------------------------

    def add(self, waiting: Waiting) -> None:
        """A pod waits, or waits again; a known UID is replaced. It keeps the arrival that it brings."""
        self._remove(waiting.uid)
        key = group_key(waiting)
        if key is not None:
            self._unsettle(waiting.uid)
        line = self._lines.setdefault(waiting.tenant, Line(waiting.tenant))
        alone = key is None or self._missing(key, waiting) <= 0
        unit_key = bucket_key(waiting) if alone else key
        unit = line.units.get(unit_key)
        if unit is None:
            unit = line.units[unit_key] = Unit(waiting.tenant, unit_key, gang=not alone)
        unit.add(waiting)
        self._unit_of[waiting.uid] = unit
        self._to_tell[waiting.uid] = None
        if unit.gang:
            self._gather(line, unit, waiting)
        elif unit.place in (Place.NOWHERE, Place.READY):
            line.make_ready(unit)

    def discard(self, uid: str) -> None:
        """The pod is gone for good, from the queue or past it; unknown ones are no error."""
        self._remove(uid)
        self._unsettle(uid)

    def settled(self, waiting: Waiting) -> None:
        """A member of a group is past the queue (found bound at a start): the others need not wait for it."""
        self._remove(waiting.uid)
        self._settle(waiting)

    def expect(self, uid: str, node: str) -> None:
        """The victims of this pod are leaving `node`: what they free there is kept for it until it goes."""
        unit = self._unit_of.get(uid)
        if unit is None or unit.gang:
            return
        waiting = unit.members[uid]
        self._remove(uid)
        line = self._lines.setdefault(waiting.tenant, Line(waiting.tenant))
        own = line.units[uid] = Unit(waiting.tenant, uid)
        own.add(waiting)
        self._unit_of[uid] = own
        self._hold.claims[own] = Kept(uid, node)
        line.make_ready(own)

    # --- the round ------------------------------------------------------------------------------------------

    def round(self, ledger: Ledger, room: Room, *, now: float, limit: int) -> list[Outcome]:
        """Decide who goes: at most `limit` pods and what completes a group, plus one of each tenant not yet served.

        The ledger is left as it was; room is taken for whoever is `Guided`. As many changed reasons are told at most.
        """
        renewed = ledger.quotas is not self._quotas and ledger.quotas != self._quotas
        self._quotas = ledger.quotas
        self._hold.choose(self._lines.values(), room, now - self._patience_s)
        version = self._hold.version(room)
        for line in self._lines.values():
            line.wake(ledger, version, now, renewed=renewed)
        with ledger.what_if():
            self._hold.begin(self._lines, room)
            turn = Round(ledger, room, self._lines, self._hold, self._tried,
                         now=now, limit=limit, patience_s=self._patience_s)  # fmt: skip
            turn.run()
            self._hold.end(room)
        self._leave(turn)
        for unit in turn.changed:
            self._to_tell.update(dict.fromkeys(unit.members))
        return [*turn.guided, *self._tell(limit)]

    def _leave(self, turn: Round) -> None:
        """Forget who was guided, and units that are empty."""
        for guided in turn.guided:
            uid = guided.waiting.uid
            self._forget(uid)
            self._settle(guided.waiting)
        for unit in turn.emptied:
            rest = list(unit.members.values())
            unit.members.clear()
            self._drop_if_empty(unit)
            for waiting in rest:
                self._unit_of.pop(waiting.uid)
                self.add(waiting)

    def _tell(self, limit: int) -> Iterator[Waits]:
        for uid in list(self._to_tell)[:limit] if self._to_tell else ():
            del self._to_tell[uid]
            unit = self._unit_of.get(uid)
            if unit is None or unit.story.code is Code.NEW or self._told.get(uid) == unit.story.code:
                continue
            self._told[uid] = unit.story.code
            yield Waits(unit.members[uid], unit.story.code, unit.story.detail)

    # --- questions ------------------------------------------------------------------------------------------

    def story(self, uid: str) -> Story | None:
        """Why a pod waits; None for one that does not."""
        unit = self._unit_of.get(uid)
        return None if unit is None else _present(unit)

    def position(self, uid: str) -> int | None:
        """How many pods of its tenant come before it; None for one that does not wait."""
        unit = self._unit_of.get(uid)
        if unit is None:
            return None
        order = unit.members[uid].order
        units = self._lines[unit.tenant].units.values()
        return sum(member.order < order for one in units for member in one.members.values())

    def summary(self) -> dict[str, TenantSummary]:
        """What waits, per tenant that has anything waiting."""
        found = {}
        for tenant, line in sorted(self._lines.items()):
            codes: Counter[str] = Counter()
            for unit in line.units.values():
                codes[str(_present(unit).code)] += len(unit.members)
            oldest = min(member.arrived for unit in line.units.values() for member in unit.members.values())
            found[tenant] = TenantSummary(codes.total(), oldest, dict(sorted(codes.items())))
        return found

    def entitled(self, ledger: Ledger, per_unit: int = 8) -> list[Waiting]:
        """Pods that wait for quota or room within their tenant's guarantee, the longest first: others must give way.

        Groups are left out: part of a group's room is of no use to it.
        """
        fairness = Fairness(ledger)
        found: list[Waiting] = []
        for line in self._lines.values():
            for unit in line.units.values():
                if unit.gang or unit.story.code not in WAITS_FOR_OTHERS:
                    continue
                head = unit.head()
                if head is not None and fairness.within_guarantee(head.charge):
                    found += heapq.nsmallest(per_unit, unit.members.values(), key=lambda one: one.order)
        return sorted(found, key=lambda one: (-one.priority, one.arrived, one.uid))

    # --- inside ---------------------------------------------------------------------------------------------

    def _gather(self, line: Line, gang: Unit, waiting: Waiting) -> None:
        """A group is tried once enough members are there, and again when another one comes."""
        key = group_key(waiting)
        assert key is not None, "a gang has a group"  # noqa: S101
        gang.need = self._missing(key, waiting)
        if len(gang.members) >= gang.need:
            line.make_ready(gang)
            return
        gang.story = stories.of_group(len(gang.members), len(self._settled.get(key, ())), waiting)
        line.set_aside(gang, Place.SHORT)
        self._hold.drop(gang)
        self._wake_followers(gang)

    def _missing(self, key: GroupKey, waiting: Waiting) -> int:
        wanted = waiting.group.min_count if waiting.group else 0
        return wanted - len(self._settled.get(key, ()))

    def _settle(self, waiting: Waiting) -> None:
        key = group_key(waiting)
        if key is not None:
            self._settled.setdefault(key, set()).add(waiting.uid)
            self._group_of[waiting.uid] = key

    def _unsettle(self, uid: str) -> None:
        key = self._group_of.pop(uid, None)
        if key is not None:
            members = self._settled[key]
            members.discard(uid)
            if not members:
                del self._settled[key]

    def _remove(self, uid: str) -> None:
        unit = self._unit_of.get(uid)
        if unit is None:
            return
        waiting = unit.members.pop(uid)
        self._forget(uid)
        line = self._lines[unit.tenant]
        if unit.gang and unit.members:
            self._gather(line, unit, waiting)
        self._drop_if_empty(unit)

    def _forget(self, uid: str) -> None:
        self._unit_of.pop(uid, None)
        self._tried.discard(uid)
        self._told.pop(uid, None)
        self._to_tell.pop(uid, None)

    def _drop_if_empty(self, unit: Unit) -> None:
        if unit.members:
            return
        line = self._lines[unit.tenant]
        line.units.pop(unit.key, None)
        line.set_aside(unit, Place.NOWHERE)
        self._hold.forget(unit)
        self._wake_followers(unit)
        if not line.units:
            del self._lines[unit.tenant]

    def _wake_followers(self, unit: Unit) -> None:
        followers, unit.followers = unit.followers, []
        for follower in followers:
            if follower.place is Place.BEHIND:
                self._lines[follower.tenant].make_ready(follower)


def group_key(waiting: Waiting) -> GroupKey | None:
    """A group is a name within a namespace of a tenant."""
    if waiting.group is None or waiting.group.min_count <= 1:
        return None
    return waiting.tenant, waiting.key.partition("/")[0], waiting.group.name


def bucket_key(waiting: Waiting) -> object:
    """What pods have in common that one answer holds for."""
    charge = waiting.charge
    return waiting.priority, waiting.shape, charge.amounts, charge.pool, charge.runtime_class


def _present(unit: Unit) -> Story:
    if unit.place is Place.READY:
        return Story(Code.ROUND_LIMIT, f"the turn of tenant {unit.tenant} comes again in the next round")
    return unit.story
