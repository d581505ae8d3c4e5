"""A real kube-scheduler under the shipped configuration: each pod goes where the extender ranks first."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.extender.embedded import EmbeddedCluster
from scheduler.extender.server import TlsFiles
from scheduler.extender.wire import BindingArgs
from scheduler.kube.objects import PodObject
from scheduler.model import CPU, MEMORY, PODS, Node, amounts
from scheduler.placement.judge import Verdict
from tests.support.certificates import server_files
from tests.support.extender import in_thread
from tests.support.kubernetes import Api, ControlPlane, control_plane, free_ports, tools, wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

CONFIG = Path(__file__).parents[3] / "deploy" / "scheduler" / "kube-scheduler-config.yaml"
NODES, PODS_OF_EACH = 12, 10
SIZES = {f"node-{number:02}": 4000 + 500 * (number * 7 % NODES) for number in range(NODES)}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    yield from control_plane(tmp_path_factory.mktemp("plane") / "plane", {})


@pytest.fixture(scope="module")
def api(plane: ControlPlane) -> Api:
    api = plane.api()
    for name, cpu in SIZES.items():
        made = api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        assert made.ok, made.message
        # Admission taints a new node as not ready; here no kubelet and no controller will take that away.
        assert api.merge(f"/api/v1/nodes/{name}", {"spec": {"taints": None}}).ok
        room = {"cpu": f"{cpu}m", "memory": "32Gi", "pods": "110"}
        ready = [{"type": "Ready", "status": "True"}]
        status = {"status": {"capacity": room, "allocatable": room, "conditions": ready}}
        assert api.merge(f"/api/v1/nodes/{name}/status", status).ok
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": "default"},
    }
    api.create(account)
    return api


class BindingCluster(EmbeddedCluster):
    """Binds at the API server, and remembers what it ranked first of how many."""

    def __init__(self, api: Api) -> None:
        nodes = [
            Node(name=name, allocatable=amounts({CPU: cpu, MEMORY: 32768, PODS: 110}))
            for name, cpu in SIZES.items()
        ]
        super().__init__(nodes, policy="best-fit")
        self._api = api
        self._one_at_a_time = asyncio.Lock()
        self.first: dict[str, str] = {}
        self.asked: list[int] = []

    def judge(self, pod: PodObject, names: Sequence[str]) -> Verdict:
        verdict = super().judge(pod, names)
        self.asked.append(len(names))
        if verdict.fitting:
            self.first[pod.metadata.name] = verdict.fitting[0]
        return verdict

    async def bind(self, binding: BindingArgs) -> str:
        why = await super().bind(binding)
        if why:
            return why
        manifest = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": binding.name, "namespace": binding.namespace, "uid": binding.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": binding.node},
        }
        path = f"/api/v1/namespaces/{binding.namespace}/pods/{binding.name}/binding"
        async with self._one_at_a_time:
            answer = await asyncio.to_thread(self._api.call, "POST", path, manifest)
        return "" if answer.ok else answer.message


@contextmanager
def scheduler(plane: ControlPlane, config: Mapping[str, Any], directory: Path) -> Iterator[Path]:
    """A kube-scheduler; its log."""
    binary = tools() / "kube-scheduler"
    if not binary.exists():
        pytest.skip("no kube-scheduler: run `make kubernetes-tools`")
    path, log = directory / "config.yaml", directory / "scheduler.log"
    path.write_text(yaml.safe_dump(dict(config)))
    (port,) = free_ports(1)
    flags = ["--bind-address=127.0.0.1", f"--secure-port={port}", f"--cert-dir={directory}/cert"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(binary), f"--config={path}", *flags],
            stdout=output,
            stderr=output,
            cwd=directory,
            env=os.environ,
        )
    try:
        yield log
    finally:
        process.terminate()
        process.wait(20)


def shipped(plane: ControlPlane, port: int, files: TlsFiles, caller: tuple[Path, Path]) -> dict[str, Any]:
    """The configuration of deploy/, with the paths of this test."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    config["clientConnection"] = {"kubeconfig": str(plane.kubeconfig())}
    config["leaderElection"]["leaderElect"] = False
    (found,) = config["extenders"]
    found["urlPrefix"] = f"https://127.0.0.1:{port}"
    found["tlsConfig"] |= {
        "caFile": str(files.client_ca),
        "certFile": str(caller[0]),
        "keyFile": str(caller[1]),
    }
    return config


def pod(name: str, cpu: str) -> dict[str, Any]:
    container = {"name": "c", "image": "none", "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"schedulerName": "bulkhead-scheduler", "containers": [container]},
    }


@pytest.mark.parametrize("candidates", [1, 10])
def test_each_pod_goes_where_the_extender_ranks_first(
    plane: ControlPlane, api: Api, tmp_path: Path, candidates: int
) -> None:
    authority, files = server_files(tmp_path)
    cluster = BindingCluster(plane.api())
    names = [f"p{candidates}-{number}" for number in range(PODS_OF_EACH)]
    with in_thread(cluster, files, candidates) as port:
        config = shipped(plane, port, files, authority.issue("kube-scheduler"))
        if candidates > 1:  # the weight alone has to do it, against every plugin that scores by default
            del config["profiles"][0]["plugins"]
        with scheduler(plane, config, tmp_path) as log:
            for number, name in enumerate(names):
                assert api.create(pod(name, f"{300 + 100 * (number % 4)}m")).ok

            def bound() -> dict[str, str] | None:
                items = api.get("/api/v1/namespaces/default/pods").body["items"]
                found = {item["metadata"]["name"]: item["spec"].get("nodeName", "") for item in items}
                return found if len(found) == len(names) and all(found.values()) else None

            try:
                found = wait_until("all pods are bound", bound, 60)
            except AssertionError as late:
                raise AssertionError(log.read_text()[-3000:]) from late
    for name in names:
        api.delete(f"/api/v1/namespaces/default/pods/{name}")
    assert found == cluster.first
    assert max(cluster.asked) == NODES
    # One candidate needs no scores; with ten, prioritize is asked about them.
    assert (10 in cluster.asked) == (candidates == 10)
