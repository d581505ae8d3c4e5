"""List and watch of the serving loop against a real API server that is killed, compacted and contradicted."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from benchmarks.control_plane.filling import Etcd
from scheduler.kube import protobuf
from scheduler.kube.connection import Connection
from scheduler.kube.objects import NodeObject, PodObject
from scheduler.kube.readers import JsonReader
from scheduler.kube.watch import Reflector
from tests.support.kubernetes import ControlPlane
from tests.support.serving_client import (
    GATE,
    Mirror,
    bound,
    created,
    following,
    gated,
    jitter,
    run,
    until,
    without_bytes,
)

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("serving")]


@pytest.mark.parametrize("page", [7, 5000])
def test_protobuf_and_json_say_the_same_of_every_pod_and_node(plane: ControlPlane, page: int) -> None:
    async def client(connection: Connection) -> None:
        for path, type_ in (("/api/v1/pods", PodObject), ("/api/v1/nodes", NodeObject)):
            mirror = Mirror()
            reflector: Any = Reflector(
                connection, path, type_, mirror, time.monotonic, jitter(), page=page
            )  # fmt: skip
            await reflector._list()
            answer = await connection.request("GET", path)
            plain: JsonReader[Any] = JsonReader(type_)
            _, batches = plain.page(answer.body)
            told = {found.metadata.uid: found for batch in batches for found in batch}
            assert {uid: without_bytes(found) for uid, found in mirror.objects.items()} == told
            assert len(told) >= 20
            assert reflector.junk == 0

    run(plane, client)


def test_every_field_that_is_read_survives_both_encodings(plane: ControlPlane, namespace: str) -> None:
    manifest = gated("all")
    name_is = {"key": "metadata.name", "operator": "In", "values": ["node-00001"]}
    zone = {"key": "zone", "operator": "NotIn", "values": ["a", "b"]}
    selector = {"matchLabels": {"app": "all"}, "matchExpressions": [zone]}
    manifest["metadata"]["annotations"] = {"note": "ünïcode \u2028 \U0001f6a2", "empty": ""}
    manifest["spec"] |= {
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [zone]}, {"matchFields": [name_is]}]
                }
            }
        },
        "nodeSelector": {"disk": "fast", "empty": ""},
        "tolerations": [{"operator": "Exists"}, {"key": "k", "value": "v", "effect": "NoSchedule"}],
        "topologySpreadConstraints": [
            {
                "topologyKey": "zone",
                "maxSkew": 2,
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": selector,
            },
            {"topologyKey": "host", "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway"},
        ],
        "initContainers": [{"name": "side", "image": "i", "restartPolicy": "Always"}],
        "schedulingGates": [{"name": GATE}, {"name": "other.dev/gate"}],
    }
    wanted = created(plane.api(), manifest, namespace)

    async def client(connection: Connection) -> None:
        async with following(connection, f"/api/v1/namespaces/{namespace}/pods") as (_, mirror):
            assert without_bytes(mirror.named("all")) == wanted

    run(plane, client)


def test_changes_arrive_and_pods_that_end_go(plane: ControlPlane, namespace: str) -> None:
    api = plane.api()

    async def client(connection: Connection) -> None:
        async with following(connection, f"/api/v1/namespaces/{namespace}/pods") as (reflector, mirror):
            assert mirror.told == ["replaced"]
            pod = created(api, bound("p"), namespace)
            await until("the pod is seen", lambda: mirror.named("p"))
            path = f"/api/v1/namespaces/{namespace}/pods/p"
            api.merge(f"{path}/status", {"status": {"phase": "Succeeded"}})
            await until("the ended pod is gone", lambda: pod.metadata.uid not in mirror.objects)
            assert mirror.told[-1] == "removed"
            assert reflector.lists == 1

    run(plane, client)


def test_a_forgotten_version_is_listed_again(plane: ControlPlane, namespace: str) -> None:
    """A watch that resumes at a version from before the compaction and before the restart gets 410."""
    api = plane.api()

    async def client(connection: Connection) -> None:
        async with following(connection, f"/api/v1/namespaces/{namespace}/pods") as (reflector, mirror):
            created(api, bound("kept"), namespace)
            gone = created(api, bound("gone"), namespace)
            await until("both are seen", lambda: mirror.named("kept") and mirror.named("gone"))
        api.delete(f"/api/v1/namespaces/{namespace}/pods/gone")
        created(api, bound("new"), namespace)
        plane.kill_api_server()  # its cache remembers what etcd has forgotten
        etcd = Etcd(plane.ports[0])
        etcd.compact()
        etcd.close()
        plane.start_api_server()
        reflector.version = "1"  # as after a long cut
        task = asyncio.ensure_future(reflector._watch())
        await asyncio.wait_for(task, 60)
        assert "410" in reflector.last_error or "too old" in reflector.last_error, reflector.last_error
        await reflector._list()
        assert mirror.told[-1] == "replaced"
        assert gone.metadata.uid not in mirror.objects
        assert mirror.named("kept")
        assert mirror.named("new")

    run(plane, client)


def test_a_line_that_does_not_decode_costs_nothing_but_itself(
    plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = plane.api()
    decode = protobuf.DECODERS[PodObject]

    def refuses_one(content: bytes) -> Any:
        found = decode(content)
        if found.metadata.name == "poison":
            raise UnicodeDecodeError("utf-8", b"", 0, 1, "as if")
        return found

    monkeypatch.setitem(protobuf.DECODERS, PodObject, refuses_one)

    async def client(connection: Connection) -> None:
        created(api, bound("poison"), namespace)
        created(api, bound("before"), namespace)
        async with following(connection, f"/api/v1/namespaces/{namespace}/pods") as (reflector, mirror):
            assert mirror.named("before")
            assert reflector.junk == 1
            api.merge(f"/api/v1/namespaces/{namespace}/pods/poison", {"metadata": {"labels": {"a": "b"}}})
            created(api, bound("after"), namespace)
            await until("the next one is seen", lambda: mirror.named("after"))
            assert reflector.junk == 2
            assert reflector.lists == 1

    run(plane, client)


def test_nothing_is_missed_when_the_api_server_is_killed_and_comes_back(
    plane: ControlPlane, namespace: str
) -> None:
    async def client(connection: Connection) -> None:
        async with following(connection, f"/api/v1/namespaces/{namespace}/pods") as (_, mirror):
            api = plane.api()
            for number in range(3):
                created(api, bound(f"early-{number}"), namespace)
                plane.kill_api_server()
                plane.start_api_server()
                api = plane.api()
                created(api, bound(f"late-{number}"), namespace)
                assert api.delete(f"/api/v1/namespaces/{namespace}/pods/early-{number}").ok
            await until("the last one is seen", lambda: mirror.named("late-2"))
            names = {f"late-{number}" for number in range(3)}
            await until(
                "what went is gone", lambda: {p.metadata.name for p in mirror.objects.values()} == names
            )

    run(plane, client, 240)
