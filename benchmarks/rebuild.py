"""How long a dead start takes: `python -m benchmarks.rebuild --json`. A real etcd and kube-apiserver, filled first.

Phases, in seconds: `nodes` listed, decoded and handed over; `pods` likewise; `hand_over` is the part of both in which
objects become nodes, shapes and charges. `cpu` is this process's own, `api_cpu` and `etcd_cpu` the servers' meanwhile.

`--serve` times the whole `bulkhead serve` instead, from the start of its process until `/readyz` says so, with every
pod a tenant's: `empty` on a ledger that knows nothing and is rebuilt from the cluster, `kept` on the one it left.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import uvloop
import yaml

from benchmarks.control_plane.binaries import binaries
from benchmarks.control_plane.filling import NAMESPACES, fill
from benchmarks.control_plane.plane import ControlPlane
from benchmarks.control_plane.ports import ControlPlaneBroken
from benchmarks.extender.beside import ACCOUNT, Certificates, Serve
from benchmarks.extender.world import RBAC
from scheduler.kube.connection import Connection
from scheduler.kube.convert import charge_of, node_of, shape_of
from scheduler.kube.credentials import find
from scheduler.kube.objects import NodeObject, PodObject
from scheduler.kube.watch import PAGE, Reflector
from scheduler.model import Node, Shape
from tenants.ledger.charge import Charge

LIVING: Final = "status.phase!=Succeeded,status.phase!=Failed"
TICKS: Final = 100.0  # of /proc/PID/stat per second


class NodeSink:
    """Keeps what placement keeps of a node."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.seconds = 0.0

    def replaced(self, objects: list[NodeObject]) -> None:
        """All nodes."""
        began = time.perf_counter()
        self.nodes = {found.metadata.name: node_of(found) for found in objects}
        self.seconds += time.perf_counter() - began

    def changed(self, obj: NodeObject) -> None:
        """A node changed."""
        self.nodes[obj.metadata.name] = node_of(obj)

    def removed(self, obj: NodeObject) -> None:
        """A node went."""
        self.nodes.pop(obj.metadata.name, None)


class PodSink:
    """Keeps what placement and the ledger keep of a pod; equal shapes are one object."""

    def __init__(self) -> None:
        self.pods: dict[str, tuple[str, Shape, Charge]] = {}
        self.shapes: dict[Shape, Shape] = {}
        self.seconds = 0.0

    def replaced(self, objects: list[PodObject]) -> None:
        """All pods."""
        began = time.perf_counter()
        self.pods.clear()
        for found in objects:
            self.changed(found)
        self.seconds += time.perf_counter() - began

    def changed(self, obj: PodObject) -> None:
        """A pod changed."""
        tenant = obj.metadata.namespace
        shape = shape_of(obj, tenant)
        shape = self.shapes.setdefault(shape, shape)
        self.pods[obj.metadata.uid] = (obj.spec.node_name, shape, charge_of(obj, tenant, "default", None))

    def removed(self, obj: PodObject) -> None:
        """A pod went."""
        self.pods.pop(obj.metadata.uid, None)


async def rebuild(kubeconfig: Path, page: int = PAGE) -> dict[str, float]:
    """One dead start: from no connection to everything handed over."""
    began = time.perf_counter()
    nodes, pods = NodeSink(), PodSink()
    async with Connection(find(kubeconfig), random.Random(1)) as connection:  # noqa: S311  jitter
        clock, jitter = time.monotonic, random.Random(2)  # noqa: S311
        node_list = Reflector(connection, "/api/v1/nodes", NodeObject, nodes, clock, jitter, page=page)
        pod_list = Reflector(
            connection, "/api/v1/pods", PodObject, pods, clock, jitter, field_selector=LIVING, page=page
        )
        nodes_s = await _synced(node_list, began)
        pods_s = await _synced(pod_list, began) - nodes_s
    return {
        "wall": time.perf_counter() - began,
        "nodes": nodes_s,
        "pods": pods_s,
        "hand_over": nodes.seconds + pods.seconds,
        "node_count": len(nodes.nodes),
        "pod_count": len(pods.pods),
        "shapes": len(pods.shapes),
    }


async def _synced(reflector: Reflector[Any], began: float) -> float:
    task = asyncio.ensure_future(reflector.run())
    await reflector.synced.wait()
    seconds = time.perf_counter() - began
    task.cancel()
    await asyncio.wait([task])
    return seconds


def measured(kubeconfig: Path, pids: tuple[int, int], page: int) -> dict[str, float]:
    """`rebuild` in this process with garbage collection off, as the serving loop starts; with CPU times."""
    before = [_cpu(pid) for pid in pids]
    own = _own_cpu()
    gc.collect()
    gc.disable()
    try:
        found = uvloop.run(rebuild(kubeconfig, page))
    finally:
        gc.enable()
    etcd, api = (_cpu(pid) - was for pid, was in zip(pids, before, strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**found, "cpu": _own_cpu() - own, "api_cpu": api, "etcd_cpu": etcd, "peak_mib": peak}


def _own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rebuild", description="time a dead start")
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument("--pods", type=int, default=150_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--pages", type=int, nargs="+", default=[PAGE], help="page sizes, which take turns")
    parser.add_argument("--serve", action="store_true", help="the whole process, until it is ready")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--against", nargs=3, metavar=("KUBECONFIG", "ETCD_PID", "API_PID"), help="one that is filled"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Fill, measure, print."""
    options = _options(argv)
    if options.against:
        path, etcd, api = options.against
        runs = _runs(Path(path), (int(etcd), int(api)), options)
    else:
        with (
            tempfile.TemporaryDirectory() as directory,
            ControlPlane(
                binaries("etcd", "kube-apiserver"), Path(directory) / "plane", {ACCOUNT: ()}
            ) as plane,
        ):
            fill(plane, options.nodes, options.pods)
            runs = (
                _starts(plane, options.runs)
                if options.serve
                else _runs(plane.kubeconfig(), (plane.pids[0], plane.pids[1]), options)
            )
    _print(runs, options)
    return 0


def _runs(kubeconfig: Path, pids: tuple[int, int], options: argparse.Namespace) -> list[dict[str, float]]:
    measured(kubeconfig, pids, options.pages[0])  # warms the server's cache, as in a cluster that runs
    return [
        {"page": page, **measured(kubeconfig, pids, page)}
        for _ in range(options.runs)
        for page in options.pages
    ]


def _starts(plane: ControlPlane, runs: int) -> list[dict[str, float]]:
    """Dead starts of the process itself, first on an empty ledger and then on the same one."""
    api = plane.api()
    for manifest in yaml.safe_load_all(RBAC.read_text()):
        answer = api.create(manifest)
        if not answer.ok:
            raise ControlPlaneBroken(answer.message)
    tenants = plane.directory / "tenants.yaml"
    tenants.write_text("---\n".join(_tenant(number) for number in range(NAMESPACES)))
    certificates = Certificates(plane.directory / "certificates")
    found = []
    for number in range(runs + 1):
        store = f"sqlite://{plane.directory}/ledger-{number}"
        times = {kind: _start(plane, certificates, tenants, store) for kind in ("empty", "kept")}
        if number:  # the first one warms the server's cache, as in a cluster that runs
            found.append({"page": PAGE, **times})
    return found


def _start(plane: ControlPlane, certificates: Certificates, tenants: Path, store: str) -> float:
    began = time.perf_counter()
    serve = Serve(plane, certificates, tenants, store, "--no-guide")
    with serve:
        serve.wait_ready()
        return time.perf_counter() - began


def _tenant(number: int) -> str:
    quota = "quota:\n  default:\n    cpu: {guaranteed: 8000, max: 16000}\n    memory: {guaranteed: 32Ti, max: 64Ti}\n"
    name = f"team-{number:02}"
    return f"apiVersion: bulkhead.dev/v1\nkind: Tenant\nname: {name}\nnamespaces: [{name}]\n{quota}"


def _print(runs: list[dict[str, float]], options: argparse.Namespace) -> None:
    out = sys.stdout
    medians = [
        {key: statistics.median(run[key] for run in runs if run["page"] == page) for key in runs[0]}
        for page in options.pages
    ]
    if options.json:
        out.write(json.dumps({"medians": medians, "runs": runs}, indent=2) + "\n")
        return
    for median in medians:
        out.write("  ".join(f"{key} {value:.2f}" for key, value in median.items()) + "\n")


if __name__ == "__main__":
    sys.exit(main())
