"""What is decided at once: a bucket of interchangeable pods, or a group that starts together."""

from __future__ import annotations

import enum
import heapq

from scheduler.queueing.waiting import Code, Story, Waiting

Order = tuple[int, float, str]
NEVER = (-1, -1)


class Place(enum.Enum):
    """Where a unit stands in its tenant's line."""

    NOWHERE = 0
    READY = 1
    QUOTA = 2  # until its tenant may take as much again
    ROOM = 3  # until the cluster gains room
    BEHIND = 4  # until who is before it has gone
    SHORT = 5  # until another member of the group arrives
    RULED_OUT = 6  # until the quotas change


class Unit:
    """Pods of one tenant that one answer holds for.

    Attributes:
        key: what its members have in common; None for a group.
        need: how many of them must go together.
        ticket: which entry of a heap is the current one.
        followers: units that wait for this one to go first.
        room_tried: the version of the room that had none for it; unholdable: the one in which no node could ever.
        spreads: a pod that others make room for by being placed elsewhere.
    """

    __slots__ = ("_added", "_heap", "followers", "gang", "key", "members", "need", "place", "ripe_at", "room_tried",
                 "spreads", "story", "tenant", "ticket", "unholdable")  # fmt: skip

    def __init__(self, tenant: str, key: object, *, gang: bool = False) -> None:
        self.tenant, self.key, self.gang = tenant, key, gang
        self.members: dict[str, Waiting] = {}
        self.need = 1
        self.place = Place.NOWHERE
        self.story = Story(Code.NEW)
        self.ticket = 0
        self.room_tried = self.unholdable = NEVER
        self.spreads = False
        self.ripe_at = -1.0
        self.followers: list[Unit] = []
        self._heap: list[tuple[Order, int, Waiting]] = []
        self._added = 0

    def add(self, waiting: Waiting) -> None:
        """Queue one more."""
        self.members[waiting.uid] = waiting
        self.spreads = self.spreads or bool(waiting.shape.spread)
        self._added += 1
        heapq.heappush(self._heap, (waiting.order, self._added, waiting))

    def head(self) -> Waiting | None:
        """The member that goes first, None when there is none."""
        heap = self._heap
        while heap and self.members.get(heap[0][2].uid) is not heap[0][2]:
            heapq.heappop(heap)
        return heap[0][2] if heap else None

    def first(self) -> Waiting:
        """The same of a unit that is not empty."""
        head = self.head()
        assert head is not None, "a unit that is tried has a member"  # noqa: S101
        return head

    def batch(self) -> list[Waiting]:
        """Who is tried together, in order."""
        if self.gang:
            return sorted(self.members.values(), key=lambda one: one.order)
        head = self.head()
        return [head] if head else []
