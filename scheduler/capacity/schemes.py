"""Three ways to keep tenants apart, as clusters to fill: a cluster each, nodes each, or shared nodes with sandboxes.

Pure. `command` sizes each of them with the same pods, the same kinds of node and the same placement policy.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from scheduler.model import Pod, Shape
from scheduler.placement.tenancy import SingleTenant, Tenancy, TenantRules
from tenants.model import CoResidency, Isolation, Runtime, Tenant, TenantSet, Trust


class Part(msgspec.Struct, frozen=True):
    """One cluster of a scheme: who uses it, under which rules, and the pods it must hold."""

    users: str
    tenancy: Tenancy
    pods: tuple[Pod, ...]


class Scheme(msgspec.Struct, frozen=True):
    """A way to keep tenants apart."""

    name: str
    wall: str
    parts: tuple[Part, ...]


def schemes(tenants: TenantSet, pods: Sequence[Pod]) -> tuple[Scheme, ...]:
    """The three schemes, in the order in which they share more.

    Where a tenant has machines of its own, the machine is the wall: its pods run on runc and pay no overhead.
    """
    everyone = tuple(pods)
    own_clusters = tuple(
        Part(name, SingleTenant(), tuple(pod for pod in everyone if pod.shape.tenant == name))
        for name in tenants.tenants
        if any(pod.shape.tenant == name for pod in everyone)
    )
    return (
        Scheme("cluster per tenant", "the cluster", own_clusters),
        Scheme(
            "nodes per tenant", "the node", (Part("all", TenantRules(with_own_nodes(tenants)), everyone),)
        ),
        Scheme("shared nodes", "the sandbox", (Part("all", TenantRules(tenants), everyone),)),
    )


def with_own_nodes(tenants: TenantSet) -> TenantSet:
    """The same tenants, each alone on its nodes and therefore on runc."""
    return msgspec.structs.replace(
        tenants, tenants={name: alone(tenant) for name, tenant in tenants.tenants.items()}
    )


def alone(tenant: Tenant) -> Tenant:
    """A tenant that shares no node; one that wants a node for each pod keeps that wish."""
    wish = tenant.isolation.co_residency
    if wish is not CoResidency.EXCLUSIVE:
        wish = CoResidency.TENANT_ONLY
    return msgspec.structs.replace(
        tenant, trust=Trust.TRUSTED, isolation=Isolation(runtime=Runtime.RUNC, co_residency=wish)
    )


def without_tenant(shape: Shape) -> Shape:
    """A shape on a cluster where nobody else is."""
    return msgspec.structs.replace(shape, tenant="", runtime_class="")
