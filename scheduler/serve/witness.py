"""Asks the API server itself where a pod stands, when the watch may be behind and something hangs on it.

A binding whose answer was lost may have happened, and while the API server is away the watch shows nothing of what
did. Nothing that a pod holds may be given to others before that is known.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from scheduler.kube.errors import ApiUnavailable
from scheduler.kube.writes import Writes
from scheduler.mirror.mirror import Mirror
from scheduler.mirror.record import PodRecord
from scheduler.serve.guide import Guide

logger = structlog.get_logger("witness")


class Witness:
    """Reads through the store's quorum, and makes the mirror know what was read."""

    def __init__(self, mirror: Mirror, guide: Guide, api: Writes) -> None:
        self._mirror, self._guide, self._api = mirror, guide, api

    async def node_of(self, record: PodRecord) -> str | None:
        """The node of a pod; empty where it has none or is gone, None where nobody can tell now."""
        try:
            node = await self._api.node_of(record.namespace, record.name, record.uid)
        except ApiUnavailable as error:
            logger.info("not known whether it is bound", pod=record.key, why=str(error))
            return None
        if node is None:
            logger.warning("not known whether it is bound: is `get` on pods allowed?", pod=record.key)
        if node:
            self.bound(record.uid, node)
        return node

    def bound(self, uid: str, node: str) -> None:
        """The API server has said that the pod stands there; the watch will say it too, and later."""
        record = self._mirror.bound(uid, node)
        if record is not None:
            self._guide.seen(record)

    async def doubtful(self, records: Iterable[PodRecord]) -> set[str]:
        """UIDs of those that may be bound for all that anybody can tell; the first silence is taken for all others."""
        todo = list(records)
        while todo and await self.node_of(todo[-1]) is not None:
            todo.pop()
        return {record.uid for record in todo}
