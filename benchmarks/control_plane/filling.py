"""Fills a real control plane fast: a few objects go in through the API, their stored bytes are copied in etcd.

The API server stores protobuf, in which a text of the same length can be put in another's place. So names and UIDs
have fixed lengths, and every copy is what the API server itself would have stored.
"""

from __future__ import annotations

import base64
import http.client
import json
import random
import uuid
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from itertools import islice
from typing import Any, Final

from benchmarks.control_plane.api import Answer
from benchmarks.control_plane.plane import ControlPlane
from benchmarks.control_plane.ports import ControlPlaneBroken

NAMESPACES: Final = 30
SHAPES: Final = 60
OPERATIONS: Final = 128  # etcd's --max-txn-ops
POD, NODE, NAMESPACE = "template-0000000", "node-00000", "team-00"


class Etcd:
    """The JSON gateway of one etcd."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One request of the gateway."""
        self._connection.request("POST", path, json.dumps(body))
        answer = self._connection.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
        if answer.status != HTTPStatus.OK:
            raise ControlPlaneBroken(f"etcd {path}: {found}")
        return found

    def value(self, key: str) -> bytes:
        """What is stored under a key."""
        (found,) = self.call("/v3/kv/range", {"key": _base64(key.encode())})["kvs"]
        return base64.b64decode(found["value"])

    def put(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        """Store these, many in a transaction."""
        pairs = iter(pairs)
        while batch := list(islice(pairs, OPERATIONS)):
            puts = [
                {"requestPut": {"key": _base64(key.encode()), "value": _base64(value)}}
                for key, value in batch
            ]
            self.call("/v3/kv/txn", {"success": puts})

    def revision(self) -> int:
        """The present one."""
        return int(self.call("/v3/kv/range", {"key": _base64(b"/")})["header"]["revision"])

    def compact(self) -> None:
        """Forget everything that is not the present state; older resource versions are Gone from now on."""
        self.call("/v3/kv/compaction", {"revision": str(self.revision()), "physical": True})

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def _must(answer: Answer) -> None:
    if not answer.ok:
        raise ControlPlaneBroken(answer.message)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def fill(plane: ControlPlane, nodes: int, pods: int, seed: int = 7) -> None:
    """`nodes` nodes, and `pods` running pods on them, over NAMESPACES namespaces and SHAPES kinds of pods."""
    random_ = random.Random(seed)  # noqa: S311  a drawing, no secret
    etcd = Etcd(plane.ports[0])
    try:
        etcd.put(_nodes(plane, etcd, nodes, random_))
        etcd.put(_pods(plane, etcd, nodes, pods, random_))
    finally:
        etcd.close()


def _nodes(
    plane: ControlPlane, etcd: Etcd, count: int, random_: random.Random
) -> Iterator[tuple[str, bytes]]:
    api = plane.api()
    created = api.create(node_manifest(NODE))
    _must(created)
    stored, uid = etcd.value(f"/registry/minions/{NODE}"), created.body["metadata"]["uid"]
    for number in range(1, count):
        name = f"node-{number:05}"
        yield f"/registry/minions/{name}", _copy(stored, (NODE, name), (uid, new_uid(random_)))


def _pods(
    plane: ControlPlane, etcd: Etcd, nodes: int, count: int, random_: random.Random
) -> Iterator[tuple[str, bytes]]:
    api = plane.api()
    for number in range(NAMESPACES):
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"team-{number:02}"}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    api.create(account, NAMESPACE)
    templates = []
    for shape in range(min(SHAPES, count)):
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{POD}"
        created = api.create(pod_manifest(POD, shape), NAMESPACE)
        _must(created)
        _must(api.merge(f"{path}/status", {"status": pod_status()}))
        templates.append((etcd.value(f"/registry/pods/{NAMESPACE}/{POD}"), created.body["metadata"]["uid"]))
        _must(api.delete(path))
    for number in range(count):
        stored, uid = templates[number % len(templates)]
        name, namespace = f"workload-{number:07}", f"team-{number % NAMESPACES:02}"
        node = f"node-{number % nodes:05}"
        pairs = (POD, name), (NAMESPACE, namespace), (NODE, node), (uid, new_uid(random_))
        yield f"/registry/pods/{namespace}/{name}", _copy(stored, *pairs)


def _copy(stored: bytes, *pairs: tuple[str, str]) -> bytes:
    for old, new in pairs:
        if len(old) != len(new):
            raise ControlPlaneBroken(f"{new} cannot stand where {old} stood")
        stored = stored.replace(old.encode(), new.encode())
    return stored


def new_uid(random_: random.Random) -> str:
    """A UID drawn from a seed."""
    return str(uuid.UUID(int=random_.getrandbits(128), version=4))


def node_manifest(name: str) -> dict[str, Any]:
    """An ordinary node."""
    room = {"cpu": "64", "memory": "256Gi", "pods": "110", "ephemeral-storage": "400Gi"}
    labels = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "kubernetes.io/hostname": name,
        "topology.kubernetes.io/zone": "zone-1",
        "node.kubernetes.io/instance-type": "large",
    }
    conditions = [
        {"type": kind, "status": state, "reason": "KubeletSaysSo", "message": "kubelet has looked at it"}
        for kind, state in (("Ready", "True"), ("MemoryPressure", "False"), ("DiskPressure", "False"))
    ]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"podCIDR": "10.0.0.0/24"},
        "status": {"allocatable": room, "capacity": room, "conditions": conditions},
    }


def pod_manifest(name: str, shape: int) -> dict[str, Any]:
    """An ordinary pod of a Deployment; about 5 kB of JSON as the API server gives it back."""
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10}
    requests = {"cpu": f"{50 * (1 + shape % 12)}m", "memory": f"{64 * (1 + shape // 12)}Mi"}
    container = {
        "name": "main",
        "image": "registry.example/app:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": f"SETTING_{n}", "value": "some-configuration-value"} for n in range(10)],
        "resources": {"requests": requests, "limits": {"memory": requests["memory"]}},
        "livenessProbe": probe,
        "readinessProbe": probe,
    }
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": "app-7d9f8b6c5d",
        "uid": "5d3ff3f6-8d80-4b4c-9a4c-8a54ee8d1c11",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    labels = {
        "app.kubernetes.io/name": "app",
        "app.kubernetes.io/instance": f"app-{shape}",
        "version": "1.2.3",
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {"checksum/config": "0123456789abcdef" * 4},
            "ownerReferences": [owner],
        },
        "spec": {
            "nodeName": NODE,
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
            "automountServiceAccountToken": False,
        },
    }


def pod_status() -> dict[str, Any]:
    """What a kubelet says of a pod that runs."""
    at = "2026-01-01T00:00:00Z"
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    return {
        "phase": "Running",
        "hostIP": "10.1.2.3",
        "podIP": "10.0.0.7",
        "podIPs": [{"ip": "10.0.0.7"}],
        "startTime": at,
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": at} for kind in kinds],
        "containerStatuses": [
            {
                "name": "main",
                "image": "registry.example/app:1",
                "imageID": "registry.example/app@sha256:" + "0123456789abcdef" * 4,
                "containerID": "containerd://" + "0123456789abcdef" * 4,
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": at}},
            }
        ],
    }
