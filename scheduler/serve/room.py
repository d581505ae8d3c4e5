"""The cluster as the queue sees it, by way of the mirror, so that a room that is taken is an assumption there."""

from __future__ import annotations

from scheduler.mirror.mirror import Mirror
from scheduler.model import Decision
from scheduler.placement.cycle import Cycle
from scheduler.queueing.room import ClusterRoom
from scheduler.queueing.waiting import Waiting


class MirrorRoom(ClusterRoom):
    """See `Room`; the mirror may build its state anew at any time between rounds."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        super().__init__(mirror.cycle)

    @property
    def cycle(self) -> Cycle:
        """The cycle of the day."""
        return self._mirror.cycle

    @cycle.setter
    def cycle(self, cycle: Cycle) -> None:
        pass

    @property
    def version(self) -> int:
        """Grows with every room that was gained, and with every state built anew."""
        return (self._mirror.builds << 48) + super().version

    def place(self, waiting: Waiting, *, again: bool = False) -> Decision:
        """Decide, and assume."""
        return self._mirror.place(waiting.uid, again=again)

    def unplace(self, uid: str) -> None:
        """Take the assumption back."""
        self._mirror.unplace(uid)
        self._given_back += 1
