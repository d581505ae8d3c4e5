"""API objects for tests that need no API server: pods and nodes as a watch would show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scheduler.kube.objects import (
    Container,
    Gate,
    Metadata,
    NodeObject,
    NodeStatus,
    PodObject,
    PodSpec,
    PodStatus,
    Resources,
)
from scheduler.mirror.record import GATE

CLASS_OF = {"agents": "bulkhead"}  # as admission fills it in
BORN = "2026-01-01T00:00:00Z"


def node(
    name: str,
    cpu: str = "8",
    memory: str = "32Gi",
    labels: Mapping[str, str] | None = None,
    pods: str = "110",
) -> NodeObject:
    """A node with nothing special about it."""
    allocatable: dict[str, str | int] = {"cpu": cpu, "memory": memory, "pods": pods}
    return NodeObject(Metadata(name=name, labels=dict(labels or {})), status=NodeStatus(allocatable))


def pod(
    name: str, namespace: str = "agents", *, cpu: str = "1", memory: str = "1Gi", on: str = "", phase: str = "",
    gates: Sequence[str] = (GATE,), leaving: bool = False, runtime_class: str | None = None, priority: int = 0,
    labels: Mapping[str, str] | None = None, uid: str = "",
) -> PodObject:  # fmt: skip
    """A pod, gated unless it is on a node already."""
    meta = Metadata(
        name=name, namespace=namespace, uid=uid or f"uid-{namespace}-{name}", creation_timestamp=BORN,
        deletion_timestamp=BORN if leaving else None, labels=dict(labels or {}),
    )  # fmt: skip
    spec = PodSpec(
        containers=(Container(Resources({"cpu": cpu, "memory": memory})),),
        node_name=on,
        runtime_class_name=runtime_class if runtime_class is not None else CLASS_OF.get(namespace, ""),
        scheduling_gates=() if on else tuple(map(Gate, gates)),
        priority=priority,
    )
    return PodObject(meta, spec, PodStatus(phase=phase))
