"""One tenant's queue: which of its units may be tried now, and what each of the others waits for.

A unit that failed is not looked at again until what it lacked may have come: quota of a dimension (a heap by the
amount asked, so that a thousand that ask too much cost one comparison), room in the cluster (a version), a change of
the quotas. A deep queue costs a round nothing.
"""

from __future__ import annotations

import heapq
import itertools

from scheduler.queueing.unit import Order, Place, Unit
from tenants.ledger.book import Ledger
from tenants.model import Dimension

Entry = tuple[float, int, int, Unit]


class Line:
    """The units of one tenant.

    Attributes:
        insisting: units that waited too long for quota: tried in every round, and nobody later gets what they lack.
        unfinished: a round ended before every unit that may have room had its try; the next one goes on there.
    """

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.units: dict[object, Unit] = {}
        self.insisting: dict[Unit, None] = {}
        self.room: dict[Unit, None] = {}
        self.unfinished = False
        self._ready: list[tuple[Order, int, int, Unit]] = []
        self._quota: dict[Dimension, list[Entry]] = {}
        self._ripening: list[Entry] = []
        self._ruled_out: dict[Unit, None] = {}
        self._count = itertools.count()

    # --- moving a unit --------------------------------------------------------------------------------------

    def make_ready(self, unit: Unit) -> None:
        """Let it be tried; again, when an earlier member arrived."""
        head = unit.head()
        if head is not None:
            self._enter(unit, Place.READY)
            heapq.heappush(self._ready, (head.order, next(self._count), unit.ticket, unit))

    def wait_for_quota(self, unit: Unit, dimension: Dimension, asked: int, ripe_at: float) -> None:
        """Until the tenant may take `asked` again, or the unit has waited until `ripe_at`."""
        self._enter(unit, Place.QUOTA)
        entry = (next(self._count), unit.ticket, unit)
        heapq.heappush(self._quota.setdefault(dimension, []), (asked, *entry))
        if unit.ripe_at != ripe_at:
            unit.ripe_at = ripe_at
            heapq.heappush(self._ripening, (ripe_at, *entry))

    def wait_for_room(self, unit: Unit) -> None:
        """Until the cluster gains room."""
        self._enter(unit, Place.ROOM)
        self.room[unit] = None

    def insist(self, unit: Unit) -> None:
        """Until its quota is there, tried in every round."""
        self._enter(unit, Place.QUOTA)
        self.insisting[unit] = None

    def rule_out(self, unit: Unit) -> None:
        """Until the quotas change."""
        self._enter(unit, Place.RULED_OUT)
        self._ruled_out[unit] = None

    def follow(self, unit: Unit, first: Unit) -> None:
        """Until `first` has gone."""
        self._enter(unit, Place.BEHIND)
        first.followers.append(unit)

    def set_aside(self, unit: Unit, place: Place) -> None:
        """Out of every list: it is empty, or a group that is short of members."""
        self._enter(unit, place)

    def _enter(self, unit: Unit, place: Place) -> None:
        for members in (self.room, self.insisting, self._ruled_out):
            members.pop(unit, None)
        unit.place = place
        unit.ticket += 1

    # --- a round --------------------------------------------------------------------------------------------

    def wake(self, ledger: Ledger, room: tuple[int, int], now: float, *, renewed: bool) -> None:
        """Make ready whatever may go now; `renewed`: the quotas are others than before."""
        if renewed:
            for unit in [*self._ruled_out, *self._waiting_for_quota()]:
                self.make_ready(unit)
        self._wake_for_quota(ledger)
        while self._ripening and self._ripening[0][0] <= now:
            ripe_at, _, _, unit = heapq.heappop(self._ripening)
            if ripe_at == unit.ripe_at:
                unit.ripe_at = -1.0
                if unit.place is Place.QUOTA:
                    self.make_ready(unit)
        for unit in list(self.insisting):
            self.make_ready(unit)
        if not self.unfinished:
            for unit in [one for one in self.room if one.room_tried != room or one.spreads]:
                self.make_ready(unit)

    def peek(self) -> Unit | None:
        """Whose turn it is."""
        while self._ready:
            order, _, ticket, unit = self._ready[0]
            head = unit.head()
            if ticket == unit.ticket and head is not None and head.order == order:
                return unit
            heapq.heappop(self._ready)
            if ticket == unit.ticket:
                self.make_ready(unit)
        return None

    def _waiting_for_quota(self) -> list[Unit]:
        return [unit for unit in self.units.values() if unit.place is Place.QUOTA]

    def _wake_for_quota(self, ledger: Ledger) -> None:
        leaf = ledger.forest.leaf(self.tenant)
        for dimension, heap in self._quota.items():
            tree = ledger.forest.trees.get(dimension)
            room = tree.available(leaf).amount if tree else 0
            while heap and (heap[0][0] <= room or heap[0][2] != heap[0][3].ticket):
                _, _, ticket, unit = heapq.heappop(heap)
                if ticket == unit.ticket:
                    self.make_ready(unit)
