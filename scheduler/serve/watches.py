"""What is watched, and who is told: nodes and pods go to the mirror, budgets to whoever evicts."""

from __future__ import annotations

import asyncio
import random as randoms
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import structlog

from scheduler.kube.connection import Connection
from scheduler.kube.errors import ApiUnavailable
from scheduler.kube.exchange import Answer
from scheduler.kube.objects import BudgetObject, ConfigMapObject, NodeObject, PodGroupObject, PodObject
from scheduler.kube.watch import Reflector
from scheduler.mirror.mirror import Mirror
from scheduler.serve.guide import Guide
from scheduler.serve.tenants_source import TenantMap

logger = structlog.get_logger("watch")

GROUP_VERSIONS: Final = ("v1", "v1beta1", "v1alpha2")
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
        self.unreadable = 0

    def replaced(self, objects: list[PodObject]) -> None:
        """See `watch.Sink`."""
        present = {found.metadata.uid for found in objects}
        for uid in self._mirror.pods.keys() - present:
            self._gone(uid)
        with self._mirror.state.at_once():
            for found in objects:
                self.changed(found)

    def changed(self, obj: PodObject) -> None:
        """See `watch.Sink`; a pod whose amounts cannot be read is counted as such, for its load is not."""
        try:
            record = self._mirror.pod_changed(obj)
        except ValueError as error:
            self.unreadable += 1
            logger.warning("pod not understood, its load is not counted", pod=obj.key, why=str(error))
            return
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


class GroupSink:
    """PodGroups -> mirror and queue."""

    def __init__(self, mirror: Mirror, guide: Guide) -> None:
        self._mirror, self._guide = mirror, guide
        self._known: set[tuple[str, str]] = set()

    def replaced(self, objects: list[PodGroupObject]) -> None:
        """See `watch.Sink`."""
        present = {_key(found) for found in objects}
        for namespace, name in self._known - present:
            self._tell(namespace, name, None)
        for found in objects:
            self.changed(found)
        self._known = present

    def changed(self, obj: PodGroupObject) -> None:
        """See `watch.Sink`."""
        gang = obj.spec.scheduling_policy.gang
        self._known.add(_key(obj))
        self._tell(*_key(obj), gang.min_count if gang else 1)

    def removed(self, obj: PodGroupObject) -> None:
        """See `watch.Sink`."""
        self._known.discard(_key(obj))
        self._tell(*_key(obj), None)

    def _tell(self, namespace: str, name: str, size: int | None) -> None:
        for record in self._mirror.group_changed(namespace, name, size):
            self._guide.seen(record)


def _key(found: BudgetObject | PodGroupObject) -> tuple[str, str]:
    return found.metadata.namespace, found.metadata.name


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
        self._connection, self._group_sink = connection, GroupSink(mirror, guide)
        self._clock, self._random = clock, randoms.Random()  # noqa: S311 - jitter
        random = self._random
        self.tenants: Reflector[ConfigMapObject] | None = None
        self.groups: Reflector[PodGroupObject] | None = None
        self.nodes = Reflector(
            connection, "/api/v1/nodes", NodeObject, NodeSink(mirror, guide), clock, random
        )
        self.pod_sink = PodSink(mirror, guide)
        self.pods = Reflector(
            connection,
            "/api/v1/pods",
            PodObject,
            self.pod_sink,
            clock,
            random,
            field_selector=NOT_ENDED,
        )
        self.budgets = Reflector(
            connection, "/apis/policy/v1/poddisruptionbudgets", BudgetObject, budgets, clock, random
        )

    async def _find_groups(self) -> Reflector[PodGroupObject] | None:
        """PodGroups, where this API server has them (alpha in 1.36, off by default); asks until it is told."""
        for version in GROUP_VERSIONS:
            root = f"/apis/scheduling.k8s.io/{version}"
            answer = await self._ask(root)
            if answer.ok and b'"podgroups"' in answer.body:
                return Reflector(
                    self._connection,
                    f"{root}/podgroups",
                    PodGroupObject,
                    self._group_sink,
                    self._clock,
                    self._random,
                )
        return None

    async def _ask(self, path: str) -> Answer:
        """What the API server says, however long it takes until it does."""
        while True:
            try:
                return await self._connection.request("GET", path)
            except ApiUnavailable as error:
                logger.warning("no API server yet", why=str(error))
                await asyncio.sleep(1)

    def watch_tenants(self, connection: Connection, place: str, sink: TenantMap) -> None:
        """Watch the ConfigMap NAMESPACE/NAME too."""
        namespace, _, name = place.partition("/")
        self.tenants = Reflector(
            connection, f"/api/v1/namespaces/{quote(namespace, safe='')}/configmaps", ConfigMapObject, sink,
            self._clock, self._random, field_selector=f"metadata.name={name}",
        )  # fmt: skip

    async def run(self) -> None:
        """Watch for ever; tenants first, so that nothing is judged twice."""
        self.groups = await self._find_groups()
        async with asyncio.TaskGroup() as group:
            if self.tenants is not None:
                group.create_task(self.tenants.run())
                await self.tenants.synced.wait()
            group.create_task(self.nodes.run())
            group.create_task(self.budgets.run())
            if self.groups is not None:
                group.create_task(self.groups.run())
                await self.groups.synced.wait()
            await self.nodes.synced.wait()
            group.create_task(self.pods.run())

    @property
    def unreadable(self) -> int:
        """Objects that were left out because they could not be decoded or understood."""
        return self.nodes.junk + self.pods.junk + self.budgets.junk + self.pod_sink.unreadable

    def unready(self) -> str:
        """Empty once everything has been listed."""
        synced = {"nodes": self.nodes.synced, "pods": self.pods.synced, "budgets": self.budgets.synced}
        if self.groups is not None:
            synced["groups"] = self.groups.synced
        if self.tenants is not None:
            synced["tenants"] = self.tenants.synced
        waiting = [name for name, event in synced.items() if not event.is_set()]
        return f"still listing {', '.join(waiting)} from the API server" if waiting else ""
