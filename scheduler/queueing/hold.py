"""Room kept for a pod or group that waits too long: one node is drained for it.

Small pods that keep coming take every gap before a large one fits. So the oldest that waited longer than the queue's
patience is tried before all others, and while it does not fit, the node nearest to having room takes nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from scheduler.model import Placed
from scheduler.queueing.line import Line
from scheduler.queueing.room import Room
from scheduler.queueing.unit import Place, Unit
from scheduler.queueing.waiting import Waiting

Version = tuple[int, int]


class Kept(NamedTuple):
    """The node that is kept for a member of a unit, so that it is the same in the next round."""

    member: str = ""
    node: str = ""


class Hold:
    """For whom room is kept.

    Attributes:
        most: how many that starve have room kept at once.
        claims: pods whose victims are leaving a node, with that node.
        taken: places found at the beginning of the round, still to be paid with quota.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.starving: dict[Unit, Kept] = {}
        self.claims: dict[Unit, Kept] = {}
        self.taken: dict[str, Placed] = {}
        self._shut: dict[Unit, str] = {}
        self._dropped = 0

    def version(self, room: Room) -> Version:
        """Changes when the cluster gained room, or room that was kept is anybody's again."""
        return room.version, self._dropped

    def node_of(self, unit: Unit) -> str:
        """The node that is shut for it now, "" when none is."""
        return self._shut.get(unit, "")

    def keeps(self, unit: Unit) -> bool:
        """Whether what a unit has taken stays taken until the round ends."""
        return unit in self.starving or unit in self.claims

    def drop(self, unit: Unit) -> None:
        """Nothing is kept for a starving unit any more; a claim stays until it is `forget`-ed."""
        if self.starving.pop(unit, None) is not None:
            self._dropped += 1

    def forget(self, unit: Unit) -> None:
        """The unit is gone."""
        self.drop(unit)
        if self.claims.pop(unit, None) is not None:
            self._dropped += 1

    def adopt(self, unit: Unit, room: Room) -> None:
        """Keep room for a unit from the next round on, if there is a place for one more or it waits longest."""
        if unit in self.starving or unit.unholdable == self.version(room):
            return
        if self.most and len(self.starving) >= self.most:
            newest = max(self.starving, key=_oldest)
            if _oldest(newest) > _oldest(unit):
                self.drop(newest)
        if len(self.starving) < self.most:
            self.starving[unit] = Kept()

    def choose(self, lines: Iterable[Line], room: Room, long_ago: float) -> None:
        """Take on the oldest of those without room that arrived before `long_ago`."""
        for unit in [one for one in self.starving if _oldest(one) > long_ago]:
            self.drop(unit)
        if len(self.starving) >= self.most:
            return
        version = self.version(room)
        waiting = [
            (_oldest(unit), unit.tenant, number, unit)
            for line in lines
            for number, unit in enumerate(line.room)
            if unit.unholdable != version and unit not in self.starving and _oldest(unit) <= long_ago
        ]
        for *_, unit in sorted(waiting)[: self.most - len(self.starving)]:
            self.starving[unit] = Kept()

    def begin(self, lines: dict[str, Line], room: Room) -> None:
        """Take what room there is for each, before anybody else, and shut a node for what is missing."""
        version = self.version(room)
        for kept in (self.claims, self.starving):
            for unit, node in list(kept.items()):
                kept[unit] = self._occupy(unit, node, room)
                if unit.place is Place.ROOM or unit in self.claims:
                    lines[unit.tenant].make_ready(unit)
        for unit in [one for one in self.starving if one.unholdable == version]:
            self.drop(unit)

    def end(self, room: Room) -> None:
        """Open what is shut, and give back what nobody paid for."""
        for node in self._shut.values():
            room.unhold(node)
        for uid in self.taken:
            room.unplace(uid)
        self._shut.clear()
        self.taken.clear()

    def _occupy(self, unit: Unit, kept: Kept, room: Room) -> Kept:
        beside: list[tuple[Waiting, str]] = []
        for member in unit.batch():
            decision = room.place(member, again=True)
            if not isinstance(decision, Placed):
                return self._shut_for(
                    unit, member, kept.node if kept.member in ("", member.uid) else "", beside, room
                )
            self.taken[member.uid] = decision
            beside.append((member, decision.node))
        return kept

    def _shut_for(
        self, unit: Unit, member: Waiting, node: str, beside: list[tuple[Waiting, str]], room: Room
    ) -> Kept:
        held = room.hold(member, node, beside)
        if held:
            self._shut[unit] = held
        else:
            unit.unholdable = self.version(room)
        return Kept(member.uid, held or node)


def _oldest(unit: Unit) -> float:
    return min((member.arrived for member in unit.batch()), default=float("inf"))
