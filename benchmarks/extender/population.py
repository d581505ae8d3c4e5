"""What stands in the cluster of the live benchmark: nodes, six tenants with their files, ReplicaSets, mixed pods. Pure.

Every variant gets the same pods. Three tenants are trusted; the pods of the other three run in the sandbox class, take
its overhead, and share a node with nobody else (`tenant-only`). Quotas are on and roomy: each tenant needs what it
borrows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

GATE: Final = "bulkhead.dev/quota"
SCHEDULER_NAME: Final = "bulkhead-scheduler"
TENANTS: Final = 6
TRUSTED: Final = 3  # team-0 to team-2
APPS: Final = 50
SIZES: Final = ((100, 128), (250, 512), (500, 1024), (1000, 2048), (2000, 4096), (4000, 8192))
"""milli-CPU and MiB."""
NODE_CPU, NODE_GIB, NODE_PODS = 32, 128, 110
STANDING: Final = "standing"
"""Label of pods that stand before a run and stay after it."""
PODS_OF_NODE: Final = 10
OVERHEAD: Final = {"cpu": "100m", "memory": "128Mi"}
RUNTIME_CLASS: Final = {
    "apiVersion": "node.k8s.io/v1",
    "kind": "RuntimeClass",
    "metadata": {"name": "bulkhead"},
    "handler": "bulkhead",
    "overhead": {"podFixed": OVERHEAD},
}


def team(number: int) -> str:
    """Name of a tenant and of its namespace."""
    return f"team-{number % TENANTS}"


def is_trusted(number: int) -> bool:
    """Whether the tenant of this pod is."""
    return number % TENANTS < TRUSTED


def tenant_files(
    guaranteed_cpu: int = 200, max_cpu: int = 4000, tighter: Mapping[int, int] | None = None,
    weights: Mapping[int, int] | None = None, *, walls: bool = True,
) -> str:  # fmt: skip
    """The tenant files: with 2,000 pods each tenant wants 330 to 460 CPUs, so each of them borrows.

    Args:
        guaranteed_cpu: CPUs of each tenant, with 2 GiB each.
        max_cpu: the same, with what it may borrow.
        tighter: another `max_cpu` for some tenants.
        weights: what tenants borrow by, 1 where nothing is said.
        walls: whether three of the tenants are untrusted; without, all are trusted.
    """
    documents = []
    for number in range(TENANTS):
        walled = walls and not is_trusted(number)
        trust = "untrusted" if walled else "trusted"
        isolation = "isolation: {coResidency: tenant-only}\n" if walled else ""
        most = (tighter or {}).get(number, max_cpu)
        documents.append(
            f"apiVersion: bulkhead.dev/v1\nkind: Tenant\nname: {team(number)}\ntrust: {trust}\n{isolation}"
            f"namespaces: [{team(number)}]\nweight: {(weights or {}).get(number, 1)}\nquota:\n  default:\n"
            f"    cpu: {{guaranteed: {guaranteed_cpu}, max: {most}}}\n"
            f"    memory: {{guaranteed: {2 * guaranteed_cpu}Gi, max: {2 * most}Gi}}\n"
        )
    overhead = f"{{cpu: {OVERHEAD['cpu']}, memory: {OVERHEAD['memory']}}}"
    documents.append(
        "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: bulkhead}\nhandler: bulkhead\n"
        f"overhead: {{podFixed: {overhead}}}\n"
    )
    return "---\n".join(documents)


def node(number: int, cpu: int = NODE_CPU, gib: int = NODE_GIB) -> dict[str, Any]:
    """A node that is ready."""
    name = f"node-{number:05}"
    room = {"cpu": str(cpu), "memory": f"{gib}Gi", "pods": str(NODE_PODS)}
    labels = {
        "kubernetes.io/hostname": name,
        "topology.kubernetes.io/zone": f"zone-{number % 3}",
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    }
    conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]
    status = {"capacity": room, "allocatable": room, "conditions": conditions}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": status,
    }


def replica_sets() -> Iterator[dict[str, Any]]:
    """Fifty in each namespace; no controller runs, they only own."""
    for number in range(TENANTS):
        for app in range(APPS):
            labels = {"app": f"app-{app}"}
            template = {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": "registry.example/app:1"}]},
            }
            yield {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {"name": f"app-{app}", "namespace": team(number)},
                "spec": {"replicas": 10, "selector": {"matchLabels": labels}, "template": template},
            }


def pod(
    number: int,
    *,
    gated: bool = False,
    owners: Mapping[tuple[str, str], str] | None = None,
    apart: bool = False,
) -> dict[str, Any]:
    """One pod of the mix.

    Args:
        number: decides tenant, application and size.
        gated: whether it waits at Bulkhead's gate.
        owners: UIDs of the ReplicaSets by (namespace, name); None makes a bare pod.
        apart: write the walls between tenants as required anti-affinity, as one does without Bulkhead.
    """
    cpu, memory = SIZES[number // TENANTS % len(SIZES)]
    namespace, app = team(number), f"app-{number // TENANTS % APPS}"
    requests = {"cpu": f"{cpu}m", "memory": f"{memory}Mi"}
    container = {
        "name": "c",
        "image": "registry.example/app:1",
        "env": [{"name": f"S{each}", "value": "some-configuration-value"} for each in range(5)],
        "resources": {"requests": requests, "limits": {"memory": requests["memory"]}},
    }
    labels = {"app": app, "pod-template-hash": "7d9f8b6c5d", "tenant": namespace}
    meta: dict[str, Any] = {"name": f"p{number:05}", "namespace": namespace, "labels": labels}
    spec: dict[str, Any] = {"schedulerName": SCHEDULER_NAME, "containers": [container]}
    if owners is not None:
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": app, "uid": owners[namespace, app]}
        meta["ownerReferences"] = [{**owner, "controller": True, "blockOwnerDeletion": True}]
    if not is_trusted(number):
        spec["runtimeClassName"] = "bulkhead"
        if apart:
            spec["affinity"] = {"podAntiAffinity": {_REQUIRED: [_away_from_others(namespace)]}}
    if gated:
        spec["schedulingGates"] = [{"name": GATE}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def standing(number: int, nodes: int, *, apart: bool) -> dict[str, Any]:
    """A pod that stands already: each tenant on nodes of its own, ten pods to a node. They are bare.

    Args:
        number: decides tenant, size and node.
        nodes: how many there are.
        apart: as in `pod`.
    """
    found = pod(number, apart=apart)
    found["metadata"]["name"] = f"s{number:05}"
    found["metadata"]["labels"][STANDING] = "yes"
    block = nodes // TENANTS
    place = number % TENANTS * block + number // TENANTS // PODS_OF_NODE % block
    found["spec"]["nodeName"] = f"node-{place:05}"
    return found


_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"


def _away_from_others(tenant: str) -> dict[str, Any]:
    """kube-scheduler honours it both ways, so trusted pods keep away from them too."""
    others = [
        {"key": "tenant", "operator": "Exists"},
        {"key": "tenant", "operator": "NotIn", "values": [tenant]},
    ]
    return {
        "topologyKey": "kubernetes.io/hostname",
        "namespaceSelector": {},
        "labelSelector": {"matchExpressions": others},
    }
