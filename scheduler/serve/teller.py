"""Tells pods' owners why their pods wait: a condition on the pod and an event, a few a second, news first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog

from scheduler.kube.errors import ApiUnavailable
from scheduler.kube.events import About, Events
from scheduler.kube.writes import Writes
from scheduler.mirror.mirror import Mirror
from scheduler.mirror.record import PodRecord, Stage
from scheduler.serve.gates import pod_of
from scheduler.serve.story import Stories, Story

CONDITION: Final = "bulkhead.dev/Admitted"
EVERY_S: Final = 0.5
SOON_S: Final = 2.0
"""A pod that goes within this time is told nothing but where: what it waited for is no news by then."""

logger = structlog.get_logger("teller")


class Teller:
    """Writes stories to the API server.

    Args:
        per_second: how many pods are told in a second; the others wait their turn.
    """

    def __init__(
        self, mirror: Mirror, stories: Stories, writes: Writes, events: Events,
        *, leads: Callable[[], bool], wall: Callable[[], float], per_second: float = 20,
    ) -> None:  # fmt: skip
        self._mirror, self._stories, self._writes, self._events = mirror, stories, writes, events
        self._leads, self._wall, self._per_second = leads, wall, per_second

    async def run(self) -> None:
        """Tell for ever; what could not be told is told with the next change."""
        while True:
            await asyncio.sleep(EVERY_S)
            if not self._leads():
                continue
            now = self._wall()
            for uid, story in self._stories.tell(
                now, max(1, int(self._per_second * EVERY_S)), quiet_s=SOON_S
            ):
                record = self._mirror.pods.get(uid)
                if record is not None and record.tenant:
                    await self._tell(record, story, now)

    async def _tell(self, record: PodRecord, story: Story, now: float) -> None:
        last = story.last
        try:
            if record.stage in {Stage.GATED, Stage.PENDING}:
                at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                await self._writes.set_condition(
                    pod_of(record), CONDITION, "False", last.code, last.detail, at
                )
            about = About(record.namespace, record.name, record.uid)
            await self._events.post(about, last.code, last.detail, warning=record.stage is Stage.GATED)
        except ApiUnavailable as error:
            logger.info("untold", pod=record.key, why=str(error))
