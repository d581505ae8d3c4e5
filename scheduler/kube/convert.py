"""API objects as placement and the ledger see them. Pure; equal pods give equal shapes, whoever wrote them.

Called for each watch event and for each item of a kubectl listing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Final

from scheduler.kube.objects import (
    Container,
    NodeObject,
    PodObject,
    PodSpec,
    Quantities,
    Resources,
    Selector,
)
from scheduler.model import (
    CPU,
    EPHEMERAL,
    GPU_MILLI,
    MEMORY,
    PODS,
    Amounts,
    Gpu,
    Node,
    Requirement,
    Shape,
    Spread,
    amounts,
)
from tenants import quantity
from tenants.ledger.charge import Charge, cost
from tenants.model import RuntimeClass

GPU_RESOURCE: Final = "nvidia.com/gpu"
GPU_MODEL_LABEL: Final = "nvidia.com/gpu.product"
SANDBOX_LABEL: Final = "bulkhead.dev/sandbox"
BASE_NAMES: Final = {"cpu": CPU, "memory": MEMORY, "ephemeral-storage": EPHEMERAL, "pods": PODS}
ENDED: Final = frozenset({"Succeeded", "Failed"})


def node_of(node: NodeObject) -> Node:
    """A Node object as placement sees it."""
    capacity, gpus = dict[str, int](), 0
    for name, text in node.status.allocatable.items():
        if name == GPU_RESOURCE:
            gpus = quantity.bytes_(text)
        elif name in ("memory", "ephemeral-storage"):
            capacity[BASE_NAMES[name]] = quantity.bytes_(text) >> 20  # what is offered rounds down
        else:
            capacity[BASE_NAMES.get(name, name)] = quantity.amount(name, text)
    labels = node.metadata.labels
    return Node(
        name=node.metadata.name,
        allocatable=amounts(capacity),
        gpus=gpus,
        gpu_model=labels.get(GPU_MODEL_LABEL, ""),
        labels=tuple(sorted({**labels, "metadata.name": node.metadata.name}.items())),
        taints=tuple(sorted(node.spec.taints)),
        unschedulable=node.spec.unschedulable,
        sandboxes=labels.get(SANDBOX_LABEL, "true") == "true",
    )


def shape_of(pod: PodObject, tenant: str) -> Shape:
    """A Pod object as placement sees it; without the RuntimeClass's overhead, which the tenant's rules add."""
    spec = pod.spec
    asked = pod_requests(spec)
    gpus = asked.pop(GPU_RESOURCE, 0)
    return Shape(
        requests=amounts({BASE_NAMES.get(resource, resource): value for resource, value in asked.items()}),
        gpu=Gpu(gpus // GPU_MILLI, GPU_MILLI) if gpus else None,
        tenant=tenant,
        runtime_class=spec.runtime_class_name,
        node_selector=tuple(sorted(spec.node_selector.items())) if spec.node_selector else (),
        affinity=required_terms(spec) if spec.affinity else (),
        tolerations=tuple(sorted(spec.tolerations)) if spec.tolerations else (),
        spread=spread_of(pod) if spec.topology_spread_constraints else (),
    )


def charged_amounts(spec: PodSpec, runtime_class: RuntimeClass | None) -> Amounts:
    """What a pod takes of its tenant's quota.

    The overhead is the one that the API server wrote into the pod, which kube-scheduler and the kubelet count too; a
    pod without one is charged what its RuntimeClass says today.
    """
    charged = dict(cost(pod_requests(spec), runtime_class))
    if spec.overhead and runtime_class is not None:
        charged["cpu"] = charged.get("cpu", 0) - runtime_class.overhead_cpu_milli
        charged["memory"] = charged.get("memory", 0) - runtime_class.overhead_memory_mib
    if spec.overhead:
        charged = total(charged, _amounts(spec.overhead))
    return amounts(charged)


def charge_of(
    pod: PodObject,
    tenant: str,
    pool: str,
    runtime_class: RuntimeClass | None,
    charged: Amounts | None = None,
) -> Charge:
    """What the pod takes, and of whom; `charged` where its amounts are known already."""
    controller = next((owner.uid for owner in pod.metadata.owner_references if owner.controller), "")
    return Charge(
        uid=pod.metadata.uid,
        node=pod.spec.node_name,
        tenant=tenant,
        amounts=charged_amounts(pod.spec, runtime_class) if charged is None else charged,
        pool=pool,
        runtime_class=pod.spec.runtime_class_name,
        priority=pod.spec.priority,
        application=controller,
        born=int(seconds_of(pod.metadata.creation_timestamp)),
    )


@lru_cache(1 << 12)
def seconds_of(timestamp: str | None) -> float:
    """RFC 3339 as seconds since 1970; 0 where there is none or it cannot be read."""
    try:
        return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0
    except ValueError:
        return 0.0


def pod_requests(spec: PodSpec) -> dict[str, int]:
    """Effective requests, as the kubelet and scheduler count them: sidecars add up, plain init containers do not.

    max(containers + sidecars, each init container + the sidecars started before it), KEP-753; what the pod as a
    whole states replaces that, KEP-2837. Units of `quantity`, a new dict, without overhead.
    """
    needed = (
        requests_of(spec.containers[0])
        if len(spec.containers) == 1
        else total(*map(requests_of, spec.containers))
    )
    if spec.init_containers:
        needed = _with_init(needed, spec.init_containers)
    if spec.resources is not None:
        needed = {**needed, **_stated(spec.resources)}
    return needed


def _with_init(main: Mapping[str, int], init_containers: tuple[Container, ...]) -> dict[str, int]:
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in init_containers:
        asked = requests_of(container)
        if container.restart_policy == "Always":
            sidecars = total(sidecars, asked)
        else:
            peak = largest(peak, total(sidecars, asked))
    return largest(total(main, sidecars), peak)


def requests_of(container: Container) -> dict[str, int]:
    """The requests of one container in units of `quantity`; limits stand in for missing requests."""
    return _stated(container.resources)


def _stated(resources: Resources) -> dict[str, int]:
    return _amounts({**resources.limits, **resources.requests})


def _amounts(written: Quantities) -> dict[str, int]:
    return {name: quantity.amount(name, text) for name, text in written.items()}


def total(*parts: Mapping[str, int]) -> dict[str, int]:
    """Sum per resource; stops at the largest amount there is."""
    found: dict[str, int] = {}
    for part in parts:
        for name, value in part.items():
            found[name] = quantity.plus(found.get(name, 0), value)
    return found


def largest(*parts: Mapping[str, int]) -> dict[str, int]:
    """Maximum per resource."""
    found: dict[str, int] = {}
    for part in parts:
        for name, value in part.items():
            found[name] = max(found.get(name, 0), value)
    return found


def required_terms(spec: PodSpec) -> tuple[tuple[Requirement, ...], ...]:
    """The required node affinity terms; matchFields on metadata.name becomes a requirement on that pseudo label."""
    affinity = spec.affinity.node_affinity.required if spec.affinity and spec.affinity.node_affinity else None
    if affinity is None:
        return ()
    return tuple(
        tuple(
            Requirement(expression.key, expression.operator, tuple(sorted(expression.values)))
            for expression in (*term.match_expressions, *term.match_fields)
        )
        for term in affinity.node_selector_terms
    )


def spread_of(pod: PodObject) -> tuple[Spread, ...]:
    """The hard spread constraints; a group is a namespace and a selector."""
    return tuple(
        Spread(
            found.topology_key,
            found.max_skew,
            f"{pod.metadata.namespace}:{selector_key(found.label_selector)}",
        )
        for found in pod.spec.topology_spread_constraints
        if found.when_unsatisfiable == "DoNotSchedule"
    )


def selector_key(selector: Selector | None) -> str:
    """A canonical text of a selector."""
    if selector is None:
        return ""
    parts = [f"{key}={value}" for key, value in sorted(selector.match_labels.items())]
    parts += sorted(
        f"{expression.key} {expression.operator} {'|'.join(sorted(expression.values))}"
        for expression in selector.match_expressions
    )
    return ",".join(parts)
