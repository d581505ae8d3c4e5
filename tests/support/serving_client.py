"""A client of a real API server as the serving loop is one: a connection, a watch to follow, pods to write on."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from benchmarks.control_plane.filling import pod_manifest
from scheduler.kube.connection import Connection
from scheduler.kube.credentials import find
from scheduler.kube.objects import PodObject
from scheduler.kube.watch import Reflector
from tests.support.kubernetes import Api, ControlPlane

LIVING = "status.phase!=Succeeded,status.phase!=Failed"
GATE = "bulkhead.dev/quota"


class Mirror:
    """What a sink has been told, and what is true after it."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.told: list[str] = []

    def replaced(self, objects: list[Any]) -> None:
        self.told.append("replaced")
        self.objects = {found.metadata.uid: found for found in objects}

    def changed(self, obj: Any) -> None:
        self.told.append("changed")
        self.objects[obj.metadata.uid] = obj

    def removed(self, obj: Any) -> None:
        self.told.append("removed")
        self.objects.pop(obj.metadata.uid, None)

    def named(self, name: str) -> Any:
        return next((found for found in self.objects.values() if found.metadata.name == name), None)


def run(plane: ControlPlane, client: Callable[[Connection], Awaitable[None]], seconds: float = 120) -> None:
    async def session() -> None:
        async with Connection(find(plane.kubeconfig()), jitter()) as connection:
            async with asyncio.timeout(seconds):
                await client(connection)

    asyncio.run(session())


def jitter() -> random.Random:
    return random.Random(1)  # noqa: S311  spreads retries


@asynccontextmanager
async def following(connection: Connection, path: str, **options: Any) -> AsyncIterator[tuple[Any, Mirror]]:
    mirror = Mirror()
    reflector = Reflector(
        connection, path, PodObject, mirror, time.monotonic, jitter(), field_selector=LIVING, **options
    )  # fmt: skip
    task = asyncio.ensure_future(reflector.run())
    try:
        await asyncio.wait(
            [task, asyncio.ensure_future(reflector.synced.wait())], return_when="FIRST_COMPLETED"
        )
        if task.done():
            task.result()
        yield reflector, mirror
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(what: str, look: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        await asyncio.sleep(0.02)
    return found


def gated(name: str) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "schedulingGates": [{"name": GATE}],
            "containers": [container],
            "automountServiceAccountToken": False,
        },
    }


def created(api: Api, manifest: dict[str, Any], namespace: str) -> PodObject:
    answer = api.create(manifest, namespace)
    assert answer.ok, answer.message
    return msgspec.convert(answer.body, PodObject)


def bound(name: str, node: str = "node-00001") -> dict[str, Any]:
    manifest = pod_manifest(name, 1)
    manifest["spec"]["nodeName"] = node
    return manifest


def without_bytes(found: Any) -> Any:
    """As JSON says it, which keeps no bytes of a gated pod to write back."""
    return msgspec.structs.replace(found, raw=b"") if isinstance(found, PodObject) else found
