"""Ends pods that were aimed at a node and missed it: their controller makes them again, and they are guided anew.

The node may have gone, filled up or been tainted between the decision and kube-scheduler's look. A pod that has never
run loses nothing; the Eviction API lets it go whatever its budgets say. What another process aimed before is found by
its affinity.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from scheduler.kube.errors import ApiUnavailable
from scheduler.kube.events import About, Events
from scheduler.kube.writes import Writes
from scheduler.mirror.mirror import Mirror
from scheduler.mirror.reading import pinned_to
from scheduler.mirror.record import PodRecord, Stage
from scheduler.serve.gates import MADE_AGAIN

EVERY_S: Final = 2.0
PATIENCE_S: Final = 20.0
"""kube-scheduler binds within a second or two what it can bind; its back-off goes up to 10 s."""
AT_ONCE: Final = 16

logger = structlog.get_logger("rescue")


class Rescuer:
    """Looks for pods that have missed.

    Args:
        leads: whether this replica may evict now.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        mirror: Mirror,
        writes: Writes,
        events: Events,
        *,
        leads: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._mirror, self._writes, self._events = mirror, writes, events
        self._leads, self._clock = leads, clock
        self._since: dict[str, float] = {}

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(EVERY_S)
            for record in self.missed()[:AT_ONCE]:
                if self._leads():
                    await self._end(record)

    def missed(self) -> list[PodRecord]:
        """Aimed pods that have been waiting for their node too long."""
        now = self._clock()
        aimed = {uid: record for uid, record in self._mirror.pods.items() if is_aimed(record)}
        self._since = {uid: self._since.get(uid, now) for uid in aimed}
        return [aimed[uid] for uid, since in self._since.items() if now - since > PATIENCE_S]

    async def _end(self, record: PodRecord) -> None:
        node = pinned_to(record.shape)
        try:
            written = await self._writes.evict(record.namespace, record.name, record.uid)
            if written.ok:
                note = f"node {node} could not take the pod any more; its controller makes it again"
                await self._events.post(
                    About(record.namespace, record.name, record.uid), "AimMissed", note, warning=True
                )
        except ApiUnavailable as error:
            logger.info("not ended yet", pod=record.key, why=str(error))
            return
        self._since[record.uid] = self._clock()
        logger.warning("aim missed", pod=record.key, node=node, outcome=str(written.outcome))


def is_aimed(record: PodRecord) -> bool:
    """Whether the pod waits, past its gate, for the one node that its affinity names."""
    waits = record.stage in {Stage.PENDING, Stage.ASSUMED}
    return waits and bool(record.tenant) and record.owner in MADE_AGAIN and bool(pinned_to(record.shape))
