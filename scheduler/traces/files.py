"""Opens a trace: picks the reader by the file's ending, and refuses pods that no node could ever hold.

Called by the command line.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path

from scheduler.errors import BadInput, Problem
from scheduler.model import BASE_RESOURCES, Node, Shape
from scheduler.placement.arrivals import Arrivals
from scheduler.traces import kubectl, openb
from scheduler.traces.assign import Assignment
from scheduler.traces.workload import Cluster, TracePod, arrived_kinds
from tenants.model import TenantSet

LISTINGS = (".json", ".yaml", ".yml")


def read_cluster(nodes_path: Path, pods_path: Path, assignment: Assignment, tenants: TenantSet) -> Cluster:
    """Read nodes from one file and pods from another, or both from one kubectl listing.

    Raises:
        BadInput: every problem of the file that was read last, each with its line.
    """
    for path in (nodes_path, pods_path):
        if not path.is_file():
            raise BadInput(
                [Problem(str(path), 1, "no such file", "the README says where the trace is to be had")]
            )
    nodes = _nodes(nodes_path, tenants)
    pods = _pods(pods_path, assignment, tenants)
    problems = [
        Problem(
            str(pods_path),
            pod.line,
            f"pod {pod.name!r} fits no node of {nodes_path.name}, not even an empty one",
        )
        for pod in impossible(pods, nodes)
    ]
    if problems:
        raise BadInput(problems)
    return Cluster(tuple(nodes), tuple(pods))


def read_history(path: Path) -> Arrivals:
    """The kinds of pods in a pod list from earlier, for policies that learn from arrivals.

    Raises:
        BadInput: every problem of the file, each with its line.
    """
    if not path.is_file():
        raise BadInput([Problem(str(path), 1, "no such file", "--history takes a pod list like --pods")])
    return arrived_kinds(_pods(path, Assignment(), TenantSet()))


def _nodes(path: Path, tenants: TenantSet) -> list[Node]:
    if path.suffix in LISTINGS:
        return kubectl.read(path, Assignment(), _owner(tenants))[0]
    return openb.read_nodes(path)


def _pods(path: Path, assignment: Assignment, tenants: TenantSet) -> list[TracePod]:
    if path.suffix in LISTINGS:
        return kubectl.read(path, assignment, _owner(tenants))[1]
    return openb.read_pods(path, assignment)


def _owner(tenants: TenantSet) -> Callable[[str], str]:
    """The name of the tenant that owns a namespace, or empty; remembered, since pods share namespaces."""

    @functools.cache
    def owner(namespace: str) -> str:
        found = tenants.tenant_of(namespace)
        return found.name if found else ""

    return owner


def impossible(pods: Iterable[TracePod], nodes: Iterable[Node]) -> list[TracePod]:
    """The pods whose amounts no empty node has, whatever its labels."""
    capacities = {(node.allocatable, node.gpus, node.gpu_model) for node in nodes}
    verdicts: dict[Shape, bool] = {}
    found = []
    for pod in pods:
        if pod.shape not in verdicts:
            verdicts[pod.shape] = any(
                _holds(dict(stated), gpus, model, pod.shape) for stated, gpus, model in capacities
            )
        if not verdicts[pod.shape]:
            found.append(pod)
    return found


def _holds(stated: dict[str, int], gpus: int, model: str, shape: Shape) -> bool:
    gpu = shape.gpu
    if gpu and (gpus < gpu.count or (gpu.models and model not in gpu.models)):
        return False
    return all(
        value <= stated.get(name, value if name in BASE_RESOURCES else 0) for name, value in shape.requests
    )
