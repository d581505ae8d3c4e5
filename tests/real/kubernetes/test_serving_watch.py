"""List, watch and the writes of the serving loop against a real API server that is killed and contradicted."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.control_plane.filling import Etcd, fill, pod_manifest
from scheduler.kube import protobuf
from scheduler.kube.connection import Connection
from scheduler.kube.credentials import find
from scheduler.kube.events import About, Events
from scheduler.kube.leadership import Leadership
from scheduler.kube.objects import LeaseObject, NodeObject, PodObject
from scheduler.kube.readers import JsonReader
from scheduler.kube.watch import Reflector
from scheduler.kube.writes import Outcome, Writes
from tests.support.kubernetes import Api, ControlPlane, tools, wait_until

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("serving")]
LIVING = "status.phase!=Succeeded,status.phase!=Failed"
GATE = "bulkhead.dev/quota"
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("serving") / "plane"
    with ControlPlane(tools(), directory, {}) as started:
        fill(started, nodes=20, pods=600)
        yield started


@pytest.fixture
def namespace(plane: ControlPlane) -> str:
    """A namespace of the test's own."""
    name = f"test-{random.getrandbits(40):x}"
    api = plane.api()
    assert api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).ok
    assert api.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}, name
    ).ok
    return name


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


def wall() -> float:
    return datetime.now(UTC).timestamp()  # noqa: TID251  the edge


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


def test_a_bind_hits_the_pod_that_was_meant_or_nothing(plane: ControlPlane, namespace: str) -> None:
    api = plane.api()
    old = created(api, gated("p"), namespace)
    assert api.delete(f"/api/v1/namespaces/{namespace}/pods/p").ok
    pod = created(api, gated("p"), namespace)

    async def client(connection: Connection) -> None:
        writes = Writes(connection)
        assert (
            await writes.bind(namespace, "p", pod.metadata.uid, "node-00001")
        ).outcome is Outcome.CONFLICT, "gated"
        assert (await writes.open_gate(old, GATE)).outcome is Outcome.CONFLICT
        assert (await writes.open_gate(pod, GATE)).ok
        assert (await writes.bind(namespace, "p", old.metadata.uid, "node-00001")).outcome is Outcome.CONFLICT
        assert (await writes.bind(namespace, "p", pod.metadata.uid, "node-00001")).ok
        assert (await writes.bind(namespace, "p", pod.metadata.uid, "node-00001")).ok, "a repetition is done"
        assert (await writes.bind(namespace, "p", pod.metadata.uid, "node-00002")).outcome is Outcome.CONFLICT
        assert (await writes.bind(namespace, "none", NOBODY, "node-00002")).outcome is Outcome.GONE

    run(plane, client)
    found = api.get(f"/api/v1/namespaces/{namespace}/pods/p").body
    assert found["spec"]["nodeName"] == "node-00001"


def test_a_gate_opens_towards_candidates_and_keeps_what_the_pod_said(
    plane: ControlPlane, namespace: str
) -> None:
    api = plane.api()
    free = created(api, gated("free"), namespace)
    picky = gated("picky")
    zone = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["zone-1"]}
    preferred = [{"weight": 1, "preference": {"matchExpressions": [zone]}}]
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    picky["spec"]["affinity"] = {
        "nodeAffinity": {
            required: {"nodeSelectorTerms": [{"matchExpressions": [zone]}]},
            "preferredDuringSchedulingIgnoredDuringExecution": preferred,
        }
    }
    picky["spec"]["schedulingGates"].append({"name": "other.dev/gate"})
    chooser = created(api, picky, namespace)

    async def client(connection: Connection) -> None:
        writes = Writes(connection)
        assert (await writes.open_gate(free, GATE, ("node-00003", "node-00001"))).ok
        answer = await writes.open_gate(chooser, GATE, ("node-00003", "node-00001"))
        assert answer.ok, answer
        assert (await writes.nominate(chooser, "node-00003")).ok

    run(plane, client)
    affinity = api.get(f"/api/v1/namespaces/{namespace}/pods/free").body["spec"]["affinity"]["nodeAffinity"]
    terms = affinity[required]["nodeSelectorTerms"]
    assert [term["matchFields"][0]["values"] for term in terms] == [["node-00003"], ["node-00001"]]
    found = api.get(f"/api/v1/namespaces/{namespace}/pods/picky").body
    assert found["spec"]["schedulingGates"] == [{"name": "other.dev/gate"}]
    assert found["status"]["nominatedNodeName"] == "node-00003"
    (term,) = found["spec"]["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [zone]
    assert term["matchFields"][0]["values"] == ["node-00003"]
    assert (
        found["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        == preferred
    )


def test_a_disruption_budget_refuses_an_eviction(plane: ControlPlane, namespace: str) -> None:
    api = plane.api()
    pod = created(api, bound("guarded"), namespace)
    ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    assert api.merge(f"/api/v1/namespaces/{namespace}/pods/guarded/status", ready).ok
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "all"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": pod.metadata.labels}},
    }
    made = api.create(budget, namespace)
    assert made.ok, made.message
    path = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/all"
    counted = {"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1}
    assert api.merge(f"{path}/status", {"status": {**counted, "expectedPods": 1}}).ok

    async def client(connection: Connection) -> None:
        writes = Writes(connection)
        refused = await writes.evict(namespace, "guarded", pod.metadata.uid)
        assert refused.outcome is Outcome.BUDGET, refused
        assert (await writes.evict(namespace, "guarded", NOBODY)).outcome in (
            Outcome.CONFLICT,
            Outcome.BUDGET,
        )
        assert api.delete(path).ok
        wait_until("the budget is gone", lambda: api.get(path).status == 404 or None)
        assert (await writes.evict(namespace, "guarded", NOBODY)).outcome is Outcome.CONFLICT
        assert (await writes.evict(namespace, "guarded", pod.metadata.uid, dry_run=True)).ok
        assert api.get(f"/api/v1/namespaces/{namespace}/pods/guarded").ok, "a dry run ends nothing"
        assert (await writes.evict(namespace, "guarded", pod.metadata.uid, grace_s=0)).ok
        assert (await writes.evict(namespace, "guarded", pod.metadata.uid)).outcome is Outcome.GONE

    run(plane, client)


def test_conditions_and_events_tell_a_story_once(plane: ControlPlane, namespace: str) -> None:
    api = plane.api()
    pod = created(api, gated("waits"), namespace)
    now = [1_800_000_000.0]

    async def client(connection: Connection) -> None:
        writes = Writes(connection)
        for reason in ("WaitingForQuota", "WaitingForGroup"):
            done = await writes.set_condition(
                pod, "bulkhead.dev/Admitted", "False", reason, "x" * 9000, "2026-01-01T00:00:00Z"
            )
            assert done.ok, done
        events = Events(connection, lambda: now[0], "replica-1")
        about = About(namespace, "waits", pod.metadata.uid)
        for _ in range(5):
            assert (await events.post(about, "WaitingForQuota", "tenant agents 64/64 guaranteed " * 99)).ok
            now[0] += 40
        assert (await events.post(about, "Guided", "to node-00001")).ok

    run(plane, client)
    conditions = api.get(f"/api/v1/namespaces/{namespace}/pods/waits").body["status"]["conditions"]
    assert [found["reason"] for found in conditions if found["type"] == "bulkhead.dev/Admitted"] == [
        "WaitingForGroup"
    ]
    assert any(found["type"] == "PodScheduled" for found in conditions), "the others stay"
    items = api.get(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events").body["items"]
    told = {found["reason"]: (found.get("series") or {}).get("count", 1) for found in items}
    assert told == {"WaitingForQuota": 5, "Guided": 1}


HOLDER = """
import asyncio, random, sys, time
from datetime import UTC, datetime
from pathlib import Path
from scheduler.kube.connection import Connection
from scheduler.kube.credentials import find
from scheduler.kube.leadership import Leadership
async def main():
    async with Connection(find(Path(sys.argv[1])), random.Random(1)) as connection:
        own = Leadership(connection, "first", time.monotonic, time.time, random.Random(2),
                         namespace=sys.argv[2], lease_s=4, retry_s=0.5)
        task = asyncio.ensure_future(own.run())
        while True:
            if own.leads:
                print(time.monotonic(), flush=True)
            await asyncio.sleep(0.02)
asyncio.run(main())
"""


def test_a_killed_leader_is_followed_and_the_two_never_lead_at_once(
    plane: ControlPlane, namespace: str
) -> None:
    argv = [sys.executable, "-c", HOLDER, str(plane.kubeconfig()), namespace]
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline(), "the first one leads"

    async def client(connection: Connection) -> None:
        second = Leadership(
            connection, "second", time.monotonic, wall, jitter(), namespace=namespace, lease_s=4
        )  # fmt: skip
        for _ in range(10):
            assert not await second.attempt()
            await asyncio.sleep(0.2)
        assert second.holder == "first"
        holder.send_signal(signal.SIGKILL)
        while not await second.attempt():  # noqa: ASYNC110  another process decides
            await asyncio.sleep(0.1)
        began = time.monotonic()
        rest = holder.stdout.read() if holder.stdout else ""
        last_led = max(map(float, rest.split()))
        assert 2.5 < began - last_led < 8, "after the lease, not before, and soon"
        assert second.term == 2
        await second.release()
        assert not second.leads
        third = Leadership(connection, "third", time.monotonic, wall, jitter(), namespace=namespace)
        assert await third.attempt(), "a released lease is free at once"
        answer = await connection.request(
            "GET", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/bulkhead-scheduler"
        )
        assert msgspec.json.decode(answer.body, type=LeaseObject).spec.holder_identity == "third"

    try:
        run(plane, client)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_a_leader_that_cannot_renew_stops_by_its_own_clock(plane: ControlPlane, namespace: str) -> None:
    now = [1000.0]

    async def client(connection: Connection) -> None:
        own = Leadership(connection, "a", lambda: now[0], wall, jitter(), namespace=namespace)
        other = Leadership(connection, "b", lambda: now[0], wall, jitter(), namespace=namespace)
        assert await own.attempt()
        assert not await other.attempt()
        now[0] += 13.6
        assert not own.leads, "a tenth of the lease before anybody else"
        assert not await other.attempt()
        now[0] += 1.5
        assert await other.attempt()
        assert not await own.attempt()
        contenders = [
            Leadership(
                connection,
                f"c{n}",
                lambda: now[0],
                wall,
                jitter(),
                namespace=namespace,
                name="race",
            )
            for n in range(8)
        ]
        await asyncio.gather(*(each.attempt() for each in contenders))
        assert sum(each.leads for each in contenders) == 1

    run(plane, client)


def test_a_dead_start_of_a_small_cluster_hands_over_everything(plane: ControlPlane) -> None:
    argv = [
        sys.executable,
        "-m",
        "benchmarks.rebuild",
        "--json",
        "--runs",
        "1",
        "--pages",
        "50",
        "5000",
        "--against",
    ]
    done = subprocess.run(
        [*argv, str(plane.kubeconfig()), *map(str, plane.pids[:2])],
        capture_output=True,
        text=True,
        check=True,
    )
    for median in json.loads(done.stdout)["medians"]:
        assert median["pod_count"] >= 600
        assert median["node_count"] == 20
        assert median["shapes"] >= 60


def test_the_kubeconfig_names_who_we_are_and_a_wrong_token_is_refused(
    plane: ControlPlane, tmp_path: Path
) -> None:
    config = json.loads(plane.kubeconfig().read_text())
    config["users"][0]["user"]["token"] = "wrong"
    wrong = tmp_path / "wrong.kubeconfig"
    wrong.write_text(json.dumps(config))

    async def session() -> None:
        async with Connection(find(wrong), jitter()) as connection:
            assert (await connection.request("GET", "/api/v1/nodes")).status == 401

    asyncio.run(session())
    assert "wrong" not in repr(find(wrong))
