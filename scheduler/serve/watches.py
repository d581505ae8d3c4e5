"""What is watched, and who is told: nodes and pods go to the mirror, budgets to whoever evicts."""

from __future__ import annotations

import asyncio
import random as randoms
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from scheduler.kube.connection import Connection
from scheduler.kube.objects import BudgetObject, ConfigMapObject, NodeObject, PodObject
from scheduler.kube.watch import Reflector
from scheduler.mirror.mirror import Mirror
from scheduler.serve.guide import Guide
from scheduler.serve.tenants_source import TenantMap

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


class BudgetSink:
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
        budgets: BudgetSink,
        clock: Callable[[], float],
    ) -> None:
        self._clock, self._random = clock, randoms.Random()  # noqa: S311 - jitter
        random = self._random
        self.tenants: Reflector[ConfigMapObject] | None = None
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

    def watch_tenants(self, connection: Connection, place: str, sink: TenantMap) -> None:
        """Watch the ConfigMap NAMESPACE/NAME too."""
        namespace, _, name = place.partition("/")
        self.tenants = Reflector(
            connection, f"/api/v1/namespaces/{quote(namespace, safe='')}/configmaps", ConfigMapObject, sink,
            self._clock, self._random, field_selector=f"metadata.name={name}",
        )  # fmt: skip

    async def run(self) -> None:
        """Watch for ever; tenants first, so that nothing is judged twice."""
        async with asyncio.TaskGroup() as group:
            if self.tenants is not None:
                group.create_task(self.tenants.run())
                await self.tenants.synced.wait()
            group.create_task(self.nodes.run())
            group.create_task(self.budgets.run())
            await self.nodes.synced.wait()
            group.create_task(self.pods.run())

    def unready(self) -> str:
        """Empty once everything has been listed."""
        synced = {"nodes": self.nodes.synced, "pods": self.pods.synced, "budgets": self.budgets.synced}
        if self.tenants is not None:
            synced["tenants"] = self.tenants.synced
        waiting = [name for name, event in synced.items() if not event.is_set()]
        return f"still listing {', '.join(waiting)} from the API server" if waiting else ""
