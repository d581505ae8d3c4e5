"""Who takes part: the tenants with their limits, written down once for the product and once for the judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

NODES: Final = 50
NODE_CPU: Final = 4_000
NODE_MIB: Final = 16_384
NODE_PODS: Final = 20
SCHEDULER: Final = "bulkhead-scheduler"
GATE: Final = "bulkhead.dev/quota"
OUTSIDER: Final = "stranger"
PROBE: Final = "probe"


class Limits(NamedTuple):
    """What a tenant may hold, in milli-CPU, MiB and pods, and beside whom; the judge knows no more than this."""

    cpu: int
    memory: int
    pods: int
    untrusted: bool = False
    alone: bool = False  # each of its pods has a node of its own
    never: frozenset[str] = frozenset()


TENANTS: Final[Mapping[str, Limits]] = {
    "agents": Limits(30_000, 65_536, 60, untrusted=True),
    "scrapers": Limits(24_000, 49_152, 40, untrusted=True, never=frozenset({"platform"})),
    "vault": Limits(6_000, 16_384, 5, alone=True),
    "platform": Limits(32_000, 65_536, 70),
    "batch": Limits(110_000, 262_144, 150),
    PROBE: Limits(6_000, 16_384, 30),
}
GUARANTEED: Final = {"agents": 20, "scrapers": 16, "vault": 6, "platform": 24, "batch": 10, PROBE: 6}
SIZES: Final[Mapping[str, tuple[int, ...]]] = {
    "agents": (500, 1_000, 1_500),
    "scrapers": (400, 900),
    "vault": (1_000,),
    "platform": (300, 700, 1_100),
    "batch": (1_000, 2_000),
    PROBE: (50,),
    OUTSIDER: (200,),
}


def tenant_files() -> str:
    """The same as the product reads it."""
    documents = [_tenant(name, limits) for name, limits in TENANTS.items()]
    overhead = "overhead: {podFixed: {cpu: 100m, memory: 128Mi}}"
    documents.append(
        "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\n"
        f"metadata: {{name: bulkhead}}\nhandler: bulkhead\n{overhead}\n"
    )
    return "---\n".join(documents)


def _tenant(name: str, limits: Limits) -> str:
    isolation = (
        "coResidency: exclusive" if limits.alone else f"neverWith: [{', '.join(sorted(limits.never))}]"
    )
    cpu = f"{{guaranteed: {GUARANTEED[name]}, max: {limits.cpu}m}}"
    return (
        f"apiVersion: bulkhead.dev/v1\nkind: Tenant\nname: {name}\n"
        f"trust: {'untrusted' if limits.untrusted else 'trusted'}\nnamespaces: [{name}]\n"
        f"isolation: {{{isolation}}}\n"
        f"quota: {{default: {{cpu: {cpu}, memory: {{guaranteed: 8Gi, max: {limits.memory}Mi}}, "
        f"pods: {{guaranteed: {limits.pods}, max: {limits.pods}}}}}}}\n"
    )


def node(name: str) -> dict[str, Any]:
    """A node that is ready."""
    room = {"cpu": f"{NODE_CPU}m", "memory": f"{NODE_MIB}Mi", "pods": str(NODE_PODS)}
    status = {"allocatable": room, "capacity": room, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}


def pod(namespace: str, name: str, cpu: int, memory: int, priority: int = 0) -> dict[str, Any]:
    """A pod as admission leaves it: scheduler, sandbox and gate filled in."""
    requests = {"cpu": f"{cpu}m", "memory": f"{memory}Mi"}
    spec: dict[str, Any] = {
        "schedulerName": SCHEDULER,
        "terminationGracePeriodSeconds": 5,
        "containers": [{"name": "main", "image": "example.org/x", "resources": {"requests": requests}}],
    }
    limits = TENANTS.get(namespace)
    if limits is not None:
        spec["schedulingGates"] = [{"name": GATE}]
        if limits.untrusted:
            spec["runtimeClassName"] = "bulkhead"
    if priority:
        spec["priorityClassName"] = f"level-{priority}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
