"""Room kept for a pod or group that waits too long: one node is drained for it.

Small pods that keep coming take every gap before a large one fits. So the oldest that waited longer than the queue's
patience is tried before all others, and while it does not fit, the node nearest to having room takes nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable

from scheduler.model import Placed
from scheduler.queueing.line import Line
from scheduler.queueing.room import Room
from scheduler.queueing.unit import Place, Unit

Version = tuple[int, int]


class Hold:
    """For whom room is kept.

    Attributes:
        most: how many that starve have room kept at once.
        claims: pods whose victims are leaving a node, with that node.
        taken: places found at the beginning of the round, still to be paid with quota.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.starving: dict[Unit, str] = {}
        self.claims: dict[Unit, str] = {}
        self.taken: dict[str, Placed] = {}
        self._shut: dict[Unit, str] = {}
        self._dropped = 0

    def version(self, room: Room) -> Version:
        """Changes when the cluster gained room, or room that was kept is anybody's again."""
        return room.version, self._dropped

    def node_of(self, unit: Unit) -> str:
        """The node that is shut for it now, "" when none is."""
        return self._shut.get(unit, "")

    def drop(self, unit: Unit) -> None:
        """Nothing is kept for a starving unit any more; a claim stays until it is `forget`-ed."""
        if self.starving.pop(unit, None) is not None:
            self._dropped += 1

    def forget(self, unit: Unit) -> None:
        """The unit is gone."""
        self.drop(unit)
        if self.claims.pop(unit, None) is not None:
            self._dropped += 1

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
            self.starving[unit] = ""

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

    def _occupy(self, unit: Unit, node: str, room: Room) -> str:
        for member in unit.batch():
            decision = room.place(member, again=True)
            if not isinstance(decision, Placed):
                held = room.hold(member, node)
                if held:
                    self._shut[unit] = held
                else:
                    unit.unholdable = self.version(room)
                return held
            self.taken[member.uid] = decision
        return node


def _oldest(unit: Unit) -> float:
    return min((member.arrived for member in unit.batch()), default=float("inf"))
