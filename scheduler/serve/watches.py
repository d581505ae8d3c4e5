"""What is watched, and who is told: nodes and pods go to the mirror, budgets to whoever evicts."""

from __future__ import annotations

import asyncio
import random as randoms
from collections.abc import Callable, Iterable
from typing import Final

from scheduler.kube.connection import Connection
from scheduler.kube.objects import BudgetObject, NodeObject, PodObject
from scheduler.kube.watch import Reflector
from scheduler.mirror.mirror import Mirror
from scheduler.serve.guide import Guide

NOT_ENDED: Final = "status.phase!=Succeeded,status.phase!=Failed"


class NodeSink:
    """Nodes -> mirror."""

    def __init__(self, mirror: Mirror, guide: Guide) -> None:
        self._mirror, self._guide = mirror, guide

    def replaced(self, objects: list[NodeObject]) -> None:
        """See `watch.Sink`."""
        self._mirror.replace_nodes(objects)
        self._guide.wake()

    def changed(self, obj: NodeObject) -> None:
        """See `watch.Sink`."""
        if self._mirror.node_changed(obj):
            self._guide.wake()

    def removed(self, obj: NodeObject) -> None:
        """See `watch.Sink`."""
        self._mirror.node_removed(obj.metadata.name)
        self._guide.wake()


class PodSink:
    """Pods -> mirror and queue."""

    def __init__(self, mirror: Mirror, guide: Guide) -> None:
        self._mirror, self._guide = mirror, guide

    def replaced(self, objects: list[PodObject]) -> None:
        """See `watch.Sink`."""
        present = {found.metadata.uid for found in objects}
        for uid in self._mirror.pods.keys() - present:
            self._gone(uid)
        for found in objects:
            self.changed(found)

    def changed(self, obj: PodObject) -> None:
        """See `watch.Sink`."""
        record = self._mirror.pod_changed(obj)
        if record is None:
            self._guide.gone(obj.metadata.uid)
        else:
            self._guide.seen(record)

    def removed(self, obj: PodObject) -> None:
        """See `watch.Sink`."""
        self._gone(obj.metadata.uid)

    def _gone(self, uid: str) -> None:
        self._mirror.pod_removed(uid)
        self._guide.gone(uid)


class Budgets:
    """PodDisruptionBudgets by namespace and name."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], BudgetObject] = {}

    def replaced(self, objects: list[BudgetObject]) -> None:
        """See `watch.Sink`."""
        self.known = {_key(found): found for found in objects}

    def changed(self, obj: BudgetObject) -> None:
        """See `watch.Sink`."""
        self.known[_key(obj)] = obj

    def removed(self, obj: BudgetObject) -> None:
        """See `watch.Sink`."""
        self.known.pop(_key(obj), None)


def _key(budget: BudgetObject) -> tuple[str, str]:
    return budget.metadata.namespace, budget.metadata.name


class Watches:
    """The reflectors of one process; nodes are listed before pods, so that pods find theirs."""

    def __init__(
        self,
        connection: Connection,
        mirror: Mirror,
        guide: Guide,
        budgets: Budgets,
        clock: Callable[[], float],
    ) -> None:
        random = randoms.Random()  # noqa: S311 - jitter
        self.nodes = Reflector(
            connection, "/api/v1/nodes", NodeObject, NodeSink(mirror, guide), clock, random
        )
        self.pods = Reflector(
            connection,
            "/api/v1/pods",
            PodObject,
            PodSink(mirror, guide),
            clock,
            random,
            field_selector=NOT_ENDED,
        )
        self.budgets = Reflector(
            connection, "/apis/policy/v1/poddisruptionbudgets", BudgetObject, budgets, clock, random
        )

    async def run(self) -> None:
        """Watch for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.nodes.run())
            group.create_task(self.budgets.run())
            await self.nodes.synced.wait()
            group.create_task(self.pods.run())

    def unready(self) -> str:
        """Empty once everything has been listed."""
        waiting = [name for name, one in self._named() if not one.synced.is_set()]
        return f"still listing {', '.join(waiting)} from the API server" if waiting else ""

    def _named(
        self,
    ) -> Iterable[tuple[str, Reflector[NodeObject] | Reflector[PodObject] | Reflector[BudgetObject]]]:
        return (("nodes", self.nodes), ("pods", self.pods), ("budgets", self.budgets))
