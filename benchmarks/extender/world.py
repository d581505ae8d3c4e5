"""The cluster of the live benchmark, on a control plane of its own: made once, emptied of pods between runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import yaml

from benchmarks.control_plane.binaries import binaries
from benchmarks.control_plane.flood import Request, flood
from benchmarks.control_plane.plane import ControlPlane
from benchmarks.extender import population
from benchmarks.extender.beside import ACCOUNT, ROOT, Certificates

RBAC: Final = ROOT / "deploy" / "scheduler" / "rbac.yaml"
# Its taint would stay: no controller takes it off here, where nodes have no kubelet.
FLAGS: Final = ("--disable-admission-plugins=TaintNodesByCondition",)
LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"


class World:
    """etcd, kube-apiserver, nodes, namespaces, ReplicaSets, certificates and tenant files, under `directory`."""

    def __init__(
        self, directory: Path, nodes: int, tenants: str, *, node_cpu: int = population.NODE_CPU,
        node_gib: int = population.NODE_GIB,
    ) -> None:  # fmt: skip
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.nodes = directory, nodes
        self._node_cpu, self._node_gib = node_cpu, node_gib
        self.tenants = directory / "tenants"
        self.tenants.mkdir(exist_ok=True)
        (self.tenants / "tenants.yaml").write_text(tenants)
        self.certificates = Certificates(directory / "certificates")
        self.plane = ControlPlane(
            binaries("etcd", "kube-apiserver", "kube-scheduler"), directory / "plane", {ACCOUNT: ()}, FLAGS
        )
        self.owners: dict[tuple[str, str], str] = {}

    def __enter__(self) -> World:
        self.plane.__enter__()
        try:
            self._fill()
        except BaseException:
            self.plane.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.plane.stop()

    def _fill(self) -> None:
        self.api = self.plane.api()
        names = [population.team(number) for number in range(population.TENANTS)]
        for name in names:
            self._create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
            self._create(account, name)
        self._create(population.RUNTIME_CLASS)
        for manifest in yaml.safe_load_all(RBAC.read_text()):
            self._create(manifest)
        nodes = (population.node(number, self._node_cpu, self._node_gib) for number in range(self.nodes))
        self.send(Request("POST", "/api/v1/nodes", json.dumps(found).encode()) for found in nodes)
        for found in population.replica_sets():
            meta = self._create(found)["metadata"]
            self.owners[meta["namespace"], meta["name"]] = meta["uid"]

    def _create(self, manifest: Mapping[str, Any], namespace: str = "") -> dict[str, Any]:
        answer = self.api.create(manifest, namespace)
        if not answer.ok:
            raise RuntimeError(answer.message)
        return answer.body

    def send(self, requests: Iterable[Request]) -> list[dict[str, Any]]:
        """All requests through sixteen connections; the objects that come back."""
        replies = flood(self.plane.port, self.plane.authority, self.plane.token(), requests)
        return [json.loads(reply.body) for reply in replies]

    def create_pods(self, manifests: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Make them, in this order."""
        return self.send(creations(manifests))

    def pods(self) -> list[dict[str, Any]]:
        """All pods that there are."""
        found: list[dict[str, Any]] = []
        more = ""
        while True:
            body = self.api.get(f"/api/v1/pods?limit=2000&continue={more}").body
            found += body["items"]
            more = body["metadata"].get("continue", "")
            if not more:
                return found

    def stand(self, pods: int, *, apart: bool) -> None:
        """Let so many pods stand, until `clear_all`."""
        self.create_pods(population.standing(number, self.nodes, apart=apart) for number in range(pods))

    def clear_all(self) -> None:
        """Take away every pod and every event."""
        self._clear("")

    def clear(self) -> None:
        """Take away every event, and every pod but those that stand."""
        self._clear(f"labelSelector=%21{population.STANDING}")

    def _clear(self, selector: str) -> None:
        for number in range(population.TENANTS):
            namespace = population.team(number)
            for path in (
                f"/api/v1/namespaces/{namespace}/pods?{selector}",
                f"/apis/events.k8s.io/v1/namespaces/{namespace}/events",
            ):
                answer = self.api.delete(path)
                if not answer.ok:
                    raise RuntimeError(answer.message)
        while self.api.get(f"/api/v1/pods?limit=1&{selector}").body["items"]:
            time.sleep(0.1)

    # --- the start signal ---------------------------------------------------------------------------------------

    def hold(self, lease: str) -> None:
        """Take a lease, so that who waits for it stays ready and idle."""
        self.api.delete(f"{LEASES}/{lease}")
        now = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}.000000Z"
        spec = {
            "holderIdentity": "benchmark",
            "leaseDurationSeconds": 3600,
            "acquireTime": now,
            "renewTime": now,
        }
        self._create(
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": lease},
                "spec": spec,
            },
            "kube-system",
        )

    def let_go(self, lease: str) -> str:
        """Give it up; when another has taken it, the moment at which it did (RFC 3339)."""
        self.api.delete(f"{LEASES}/{lease}")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            answer = self.api.get(f"{LEASES}/{lease}")
            if answer.ok and answer.body["spec"].get("holderIdentity"):
                return str(answer.body["spec"]["acquireTime"])
            time.sleep(0.02)
        raise RuntimeError(f"nobody took the lease {lease}")


def creations(manifests: Iterable[Mapping[str, Any]]) -> list[Request]:
    """The requests that make pods."""
    return [
        Request(
            "POST", f"/api/v1/namespaces/{found['metadata']['namespace']}/pods", json.dumps(found).encode()
        )
        for found in manifests
    ]
