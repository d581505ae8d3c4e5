"""`bulkhead serve` as a process beside a real API server, and kube-scheduler's calls to it made by hand."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import yaml

from tests.support.kubernetes import Answer, Api, ControlPlane, free_ports, wait_until

ROOT: Final = Path(__file__).parents[2]
GATE: Final = "bulkhead.dev/quota"
ACCOUNT: Final = "system:serviceaccount:kube-system:bulkhead-scheduler"


def two_tenants(agents: str, platform: str) -> str:
    """Files of an untrusted and a trusted tenant with these quotas of the default pool, and the RuntimeClass."""
    return f"""
apiVersion: bulkhead.dev/v1
kind: Tenant
name: agents
trust: untrusted
namespaces: [agents]
quota: {{default: {agents}}}
---
apiVersion: bulkhead.dev/v1
kind: Tenant
name: platform
trust: trusted
namespaces: [platform]
quota: {{default: {platform}}}
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {{name: bulkhead}}
handler: bulkhead
overhead: {{podFixed: {{cpu: 100m, memory: 128Mi}}}}
"""


TENANT_FILES: Final = two_tenants(
    "{cpu: {guaranteed: 4, max: 8}, memory: {guaranteed: 8Gi, max: 64Gi}}",
    "{cpu: {guaranteed: 8, max: 64}, memory: {guaranteed: 8Gi, max: 256Gi}}",
)


class Serving:
    """One `bulkhead serve` process on plain HTTP and loopback."""

    def __init__(
        self, plane: ControlPlane, directory: Path, store: str, *flags: str, tenants: str = TENANT_FILES
    ) -> None:
        self._plane, self._store, self._flags = plane, store, flags
        self.directory = directory
        self.tenants = directory / "tenants"
        self.tenants.mkdir(parents=True, exist_ok=True)
        (self.tenants / "tenants.yaml").write_text(tenants)
        (self.port,) = free_ports(1)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Serving:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill(signal.SIGTERM)

    def start(self, *, ready: bool = True) -> float:
        """Starts it; seconds until it was ready."""
        began = time.monotonic()
        with (self.directory / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scheduler", "serve", f"--kubeconfig={self._plane.kubeconfig(ACCOUNT)}",
                 f"--tenants={self.tenants}", f"--store={self._store}", f"--listen=127.0.0.1:{self.port}",
                 "--insecure-http", *self._flags],
                stdout=log, stderr=log, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        if ready:
            self.wait_ready()
        return time.monotonic() - began

    def wait_ready(self, seconds: float = 90) -> None:
        wait_until("bulkhead serve is ready", self._is_ready, seconds)

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Ends it by a signal; its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)

    def log(self) -> str:
        return (self.directory / "serve.log").read_text()

    def call(self, method: str, path: str, body: object = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read().decode()
        finally:
            connection.close()
        is_json = (answer.getheader("Content-Type") or "").startswith("application/json")
        found = json.loads(content) if is_json else {"message": content}
        return Answer(answer.status, found if isinstance(found, dict) else {"list": found})

    def filter(self, pod: Mapping[str, Any], nodes: Sequence[str]) -> dict[str, Any]:
        answer = self.call("POST", "/filter", {"Pod": pod, "Nodes": None, "NodeNames": list(nodes)})
        assert answer.ok, answer
        return answer.body

    def bind(self, pod: Mapping[str, Any], node: str) -> str:
        meta = pod["metadata"]
        body = {
            "PodName": meta["name"],
            "PodNamespace": meta["namespace"],
            "PodUID": meta["uid"],
            "Node": node,
        }
        return str(self.call("POST", "/bind", body).body["Error"])

    def explain(self, name: str) -> dict[str, Any]:
        return self.call("GET", f"/explain?pod={name}").body

    def metric(self, name: str) -> float:
        """The sum of all samples of a metric."""
        lines = self.call("GET", "/metrics").body["message"].splitlines()
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.partition("{")[0].partition(" ")[0] == name
        )

    def _is_ready(self) -> bool | None:
        assert self.process is not None
        assert self.process.poll() is None, self.log()[-3000:]
        try:
            return self.call("GET", "/readyz").ok or None
        except OSError:
            return None


def make_world(api: Api, nodes: int = 3, cpu: str = "16") -> None:
    """Namespaces with their service accounts, the RuntimeClass, and nodes that are ready."""
    for name in ("agents", "platform", "stranger"):
        assert api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).ok
        assert api.create(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}, name
        ).ok
    overhead = {"podFixed": {"cpu": "100m", "memory": "128Mi"}}
    sandbox = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "bulkhead"}}
    assert api.create({**sandbox, "handler": "bulkhead", "overhead": overhead}).ok
    for manifest in yaml.safe_load_all((ROOT / "deploy/scheduler/rbac.yaml").read_text()):
        assert api.create(manifest).ok
    for number in range(nodes):
        add_node(api, f"n{number}", cpu)


def add_node(api: Api, name: str, cpu: str = "16") -> None:
    room = {"cpu": cpu, "memory": "64Gi", "pods": "110"}
    status = {"allocatable": room, "capacity": room, "conditions": [{"type": "Ready", "status": "True"}]}
    assert api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}).ok
    # Admission taints every new node as not ready; the node controller that takes it off does not run here.
    assert api.merge(f"/api/v1/nodes/{name}", {"spec": {"taints": None}}).ok


def make_pod(
    api: Api, namespace: str, name: str, cpu: str = "1", *, gated: bool = True, labels: Mapping[str, str] | None = None,
    priority_class: str = "", memory: str = "512Mi", owners: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:  # fmt: skip
    """A pod as admission leaves it: scheduler, sandbox and gate filled in."""
    requests = {"cpu": cpu, "memory": memory}
    spec: dict[str, Any] = {
        "schedulerName": "bulkhead-scheduler",
        "containers": [{"name": "main", "image": "example.org/x", "resources": {"requests": requests}}],
    }
    if gated:
        spec["schedulingGates"] = [{"name": GATE}]
    if namespace == "agents":
        spec["runtimeClassName"] = "bulkhead"
    if priority_class:
        spec["priorityClassName"] = priority_class
    meta = {"name": name, "labels": dict(labels or {}), "ownerReferences": list(owners)}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
    answer = api.create(pod, namespace)
    assert answer.ok, answer.message
    return answer.body


def get_pod(api: Api, namespace: str, name: str) -> dict[str, Any]:
    return api.get(f"/api/v1/namespaces/{namespace}/pods/{name}").body


def is_open(pod: Mapping[str, Any]) -> bool:
    """Whether no gate of ours holds the pod back."""
    return all(gate["name"] != GATE for gate in pod["spec"].get("schedulingGates", ()))
