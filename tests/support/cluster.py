"""Builders of nodes, pods and tenant rules for scheduler tests: say only what the test is about."""

from __future__ import annotations

from collections.abc import Mapping

from scheduler.model import CPU, MEMORY, Gpu, Node, Placed, Pod, Shape, Spread, Taint, Toleration, amounts
from scheduler.placement.cycle import Cycle
from scheduler.placement.score.registry import Policy, make_policy
from scheduler.placement.state import ClusterState
from scheduler.placement.tenancy import Tenancy, TenantRules
from tenants.model import CoResidency, Isolation, Runtime, RuntimeClass, Tenant, TenantSet, Trust

SANDBOX = RuntimeClass(name="bulkhead", handler="bulkhead", overhead_cpu_milli=100, overhead_memory_mib=128)


def make_node(
    name: str = "node",
    *,
    cpu: int = 8000,
    memory: int = 32768,
    gpus: int = 0,
    model: str = "",
    labels: Mapping[str, str] | None = None,
    taints: tuple[Taint, ...] = (),
    unschedulable: bool = False,
    sandboxes: bool = True,
    **extended: int,
) -> Node:
    """A node of 8 CPUs and 32 GiB unless said otherwise."""
    return Node(
        name=name,
        allocatable=amounts({CPU: cpu, MEMORY: memory, **extended}),
        gpus=gpus,
        gpu_model=model,
        labels=tuple(sorted((labels or {}).items())),
        taints=taints,
        unschedulable=unschedulable,
        sandboxes=sandboxes,
    )


def make_shape(
    *,
    cpu: int = 1000,
    memory: int = 1024,
    gpu: Gpu | None = None,
    tenant: str = "",
    runtime_class: str = "",
    selector: Mapping[str, str] | None = None,
    tolerations: tuple[Toleration, ...] = (),
    spread: tuple[Spread, ...] = (),
    **extended: int,
) -> Shape:
    """A pod shape of 1 CPU and 1 GiB unless said otherwise."""
    return Shape(
        requests=amounts({CPU: cpu, MEMORY: memory, **extended}),
        gpu=gpu,
        tenant=tenant,
        runtime_class=runtime_class,
        node_selector=tuple(sorted((selector or {}).items())),
        tolerations=tolerations,
        spread=spread,
    )


def make_tenant(
    name: str,
    *,
    trust: Trust = Trust.TRUSTED,
    co_residency: CoResidency = CoResidency.SHARED,
    runtime: Runtime = Runtime.AUTO,
    never_with: frozenset[str] = frozenset(),
    blast_radius: int | None = None,
) -> Tenant:
    """A trusted tenant that shares its nodes unless said otherwise."""
    wall = Isolation(
        runtime=runtime, co_residency=co_residency, never_with=never_with, blast_radius=blast_radius
    )
    return Tenant(name=name, trust=trust, isolation=wall)


def make_rules(*tenants: Tenant, blast_radius: int | None = None) -> TenantRules:
    """The rules of these tenants, with a sandbox runtime class to choose."""
    return TenantRules(
        TenantSet(
            tenants={tenant.name: tenant for tenant in tenants},
            runtime_classes={SANDBOX.name: SANDBOX},
            blast_radius=blast_radius,
        )
    )


def make_cycle(
    *nodes: Node, tenancy: Tenancy | None = None, policy: str | Policy = "best-fit", seed: int = 1
) -> Cycle:
    """A cycle over a fresh cluster."""
    chosen = make_policy(policy, seed, None) if isinstance(policy, str) else policy
    return Cycle(ClusterState(list(nodes), tenancy, identify_nodes=chosen.identify_nodes), chosen)


def put(cycle: Cycle, name: str, shape: Shape) -> str:
    """Decide about a pod and apply it; the node's name, or the reason of the refusal."""
    decision = cycle.decide(Pod(name, shape))
    if isinstance(decision, Placed):
        cycle.state.place(cycle.state.demand(shape), decision)
        return decision.node
    return decision.reason
