"""Whether a pod may stand where it was placed: every rule of the node, each device, the runtime it got. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks.checker.cluster import Ask, Cluster
from benchmarks.checker.findings import BIT, CHECKS, Kind
from benchmarks.checker.lines import Placed, Refused
from benchmarks.checker.rules import untolerated

Found = Iterator[tuple[Kind, str]]


def check_placed(cluster: Cluster, ask: Ask, line: Placed) -> Found:
    """Everything wrong with a placement, judged before the pod is taken in."""
    if ask.admission.refusal:
        yield Kind.TENANT_RULES, f"pod {line.pod} was placed although {ask.admission.refusal}"
        return
    yield from check_runtime(ask, line)
    node = cluster.number_of[line.node]
    bits = int(ask.standing[cluster.kind_of[node]]) | int(cluster.isolation(ask)[cluster.occupancy_of[node]])
    if bits:
        for kind in CHECKS:
            if bits & BIT[kind]:
                yield kind, f"pod {line.pod} on node {line.node}: {why(kind, cluster, ask, node)}"
    yield from check_amounts(cluster, ask, line, node)
    if ask.count or line.devices:
        yield from check_devices(cluster, ask, line, node)
    for spread in ask.shape.spread:
        excess = cluster.excess(ask, spread, node)
        if excess > 0:
            label = cluster.nodes[node].labels.get(spread.topology_key, "")
            said = (
                f"{excess} over maxSkew {spread.max_skew} in {label!r}" if label else "the label is missing"
            )
            yield Kind.SPREAD, f"pod {line.pod} on node {line.node}: {spread.topology_key}: {said}"


def check_runtime(ask: Ask, line: Placed | Refused) -> Found:
    """The runtime and the overhead that the line states are those that the tenant's trust demands."""
    presence = ask.admission.presence
    due = presence.sandboxed if presence else None
    if line.sandboxed is not due:
        yield (
            Kind.RUNTIME,
            f"pod {line.pod} of {ask.shape.tenant!r}: sandboxed={line.sandboxed}, due is {due}",
        )
    stated = {name: amount for name, amount in line.overhead.items() if amount}
    if stated != dict(ask.admission.overhead):
        due_text = amounts(ask.admission.overhead)
        yield Kind.OVERHEAD, f"pod {line.pod}: overhead {amounts(stated)} was charged, due is {due_text}"


def check_amounts(cluster: Cluster, ask: Ask, line: Placed, node: int) -> Found:
    """Every resource of the node suffices, pod slots and runtime overhead included."""
    free = cluster.free[node]
    for column in np.nonzero(ask.request > free)[0]:
        name = list(cluster.resources)[column]
        numbers = f"{name} asked {ask.request[column]}, free {free[column]}"
        yield cluster.kind_of_column[column], f"pod {line.pod} on node {line.node}: {numbers}"
    for name in ask.unknown:
        yield Kind.EXTENDED, f"pod {line.pod} on node {line.node}: {name}, which no node has"


def check_devices(cluster: Cluster, ask: Ask, line: Placed, node: int) -> Found:
    """As many devices as asked, distinct, existing, each with the milli that the pod takes."""
    place, there = f"pod {line.pod} on node {line.node}", cluster.nodes[node].gpus
    if len(line.devices) != ask.count:
        yield Kind.DEVICES, f"{place}: got {len(line.devices)} devices, asked {ask.count}"
    if len(set(line.devices)) < len(line.devices):
        yield Kind.DEVICES, f"{place}: got a device twice, {list(line.devices)}"
    unknown = [device for device in line.devices if not 0 <= device < there]
    if unknown:
        yield Kind.DEVICES, f"{place}: devices {unknown} do not exist, the node has {there}"
    for device in set(line.devices) - set(unknown):
        free = int(cluster.gpu[node, device])
        if free < ask.milli:
            yield ask.gpu_kind, f"{place}: device {device} has {free} milli free, asked {ask.milli}"


def why(kind: Kind, cluster: Cluster, ask: Ask, node: int) -> str:
    """The facts behind a broken rule."""
    facts, shape = cluster.nodes[node], ask.shape
    models = shape.gpu.models if shape.gpu else []
    match kind:
        case Kind.UNSCHEDULABLE:
            return "the node is unschedulable"
        case Kind.TAINT:
            return f"taints {[taint.key for taint in untolerated(facts.taints, shape.tolerations)]} are not tolerated"
        case Kind.NODE_AFFINITY:
            return "the node's labels do not match the selector and affinity"
        case Kind.GPU_MODEL:
            return f"the GPUs are {facts.gpu_model!r}, asked {models}"
        case Kind.NO_SANDBOX:
            return "the node runs no sandboxes"
        case _:
            return neighbours(kind, cluster, ask, node)


def neighbours(kind: Kind, cluster: Cluster, ask: Ask, node: int) -> str:
    """Who stands there, and where it decides the limit."""
    residents = ", ".join(sorted({f"{who.tenant}" for who in cluster.residents[node]})) or "nobody"
    limit = f"; the node's limit is {cluster.nodes[node].blast_radius}" if kind is Kind.BLAST_RADIUS else ""
    return f"a pod of {ask.shape.tenant} beside {residents}{limit}"


def amounts(values: Mapping[str, int]) -> str:
    """Amounts as text."""
    return ", ".join(f"{name} {amount}" for name, amount in sorted(values.items())) or "nothing"
