"""A workload read from a trace, and how it becomes an arrival order: inflated to a load, shuffled by a seed.

Pure: the random generator comes in seeded. Called by `replay` and `capacity`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import msgspec

from scheduler.model import CPU, GPU_MILLI, MEMORY, Node, Pod, Shape
from scheduler.placement.arrivals import Arrivals, arrival_of

GPU = "gpu_milli"
MEASURED = (CPU, MEMORY, GPU)
"""The resources that allocation is reported for."""


class TracePod(msgspec.Struct, frozen=True):
    """A pod of a trace; `line` is where it was read, `pinned_to` the node that a DaemonSet or static pod stays on."""

    name: str
    shape: Shape
    line: int
    pinned_to: str = ""


class Cluster(msgspec.Struct, frozen=True):
    """What a replay works on."""

    nodes: tuple[Node, ...]
    pods: tuple[TracePod, ...]


def request_of(shape: Shape) -> dict[str, int]:
    """What a shape asks of the measured resources, without runtime overhead."""
    asked = dict(shape.requests)
    gpu = shape.gpu.count * shape.gpu.milli if shape.gpu else 0
    return {CPU: asked.get(CPU, 0), MEMORY: asked.get(MEMORY, 0), GPU: gpu}


def capacity_of(nodes: Sequence[Node]) -> dict[str, int]:
    """The sum over nodes of the measured resources."""
    total: Counter[str] = Counter()
    for node in nodes:
        stated = dict(node.allocatable)
        total.update({CPU: stated.get(CPU, 0), MEMORY: stated.get(MEMORY, 0), GPU: node.gpus * GPU_MILLI})
    return dict(total)


def scarce_resource(nodes: Sequence[Node], pods: Sequence[TracePod]) -> str:
    """The resource that load is measured on: GPUs where the cluster has any, else the one most asked for."""
    capacity = capacity_of(nodes)
    if capacity.get(GPU):
        return GPU
    asked: Counter[str] = Counter()
    for pod in pods:
        asked.update(request_of(pod.shape))
    return max((CPU, MEMORY), key=lambda name: asked[name] / max(capacity.get(name, 0), 1))


def arrivals(cluster: Cluster, load: float | None, seed: int) -> list[Pod]:
    """The pods in the order in which they arrive, pinned ones left out.

    Without a `load` the order of the file. With one, pods drawn uniformly from the trace, with replacement, are added
    until the demand for the scarce resource reaches `load` x capacity, or taken out until it no longer exceeds it; then
    all are shuffled. This is the recipe of the published openb figures (Weng et al., ATC 2023), draw for draw.
    """
    free = arriving(cluster)
    if load is None:
        return [Pod(pod.name, pod.shape) for pod in free]
    resource = scarce_resource(cluster.nodes, free)
    target = load * capacity_of(cluster.nodes).get(resource, 0)
    amount = {pod.shape: request_of(pod.shape)[resource] for pod in free}
    generator = random.Random(seed)  # noqa: S311  # a reproducible draw, nothing secret
    drawn = list(free)
    demand = sum(amount[pod.shape] for pod in free)
    can_grow = any(amount.values())
    while demand < target and can_grow:
        drawn.append(generator.choice(free))
        demand += amount[drawn[-1].shape]
    while demand > target and len(drawn) <= len(free) and drawn:
        number = generator.randrange(len(drawn))
        drawn[number], drawn[-1] = drawn[-1], drawn[number]
        demand -= amount[drawn.pop().shape]
    generator.shuffle(drawn)
    return uniquely_named(drawn)


def shuffled(cluster: Cluster, seed: int) -> list[Pod]:
    """Every pod of the trace once, in a random order, pinned ones left out."""
    pods = arriving(cluster)
    random.Random(seed).shuffle(pods)  # noqa: S311  # a reproducible draw, nothing secret
    return [Pod(pod.name, pod.shape) for pod in pods]


def arriving(cluster: Cluster) -> list[TracePod]:
    """The pods that need a decision."""
    return [pod for pod in cluster.pods if not pod.pinned_to]


def uniquely_named(drawn: Sequence[TracePod]) -> list[Pod]:
    """Number the copies of a pod that was drawn more than once."""
    copies: Counter[str] = Counter()
    pods = []
    for pod in drawn:
        copies[pod.name] += 1
        name = pod.name if copies[pod.name] == 1 else f"{pod.name}~{copies[pod.name]}"
        pods.append(Pod(name, pod.shape))
    return pods


def arrived_kinds(pods: Sequence[Pod | TracePod]) -> Arrivals:
    """Count the kinds of pods in order of first appearance: a history for a policy."""
    return dict(Counter(arrival_of(pod.shape) for pod in pods))
