"""All Kubernetes objects of a set of tenants. Pure; `plan` and `apply` call it, and READ this module first.

Every object carries app.kubernetes.io/managed-by=bulkhead and, where it is a tenant's, bulkhead.dev/tenant.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from typing import Final

from tenants.manifests.access import access
from tenants.manifests.admission.facts import facts, facts_definition
from tenants.manifests.admission.mutations import mutations
from tenants.manifests.admission.policies import policies
from tenants.manifests.classes import priority_classes, runtime_class
from tenants.manifests.namespaces import namespaces, namespaces_of
from tenants.manifests.network import network_policies
from tenants.manifests.objects import Manifest, apply_order
from tenants.manifests.quotas import quotas
from tenants.model import Tenant, TenantSet

SCHEDULER: Final = "bulkhead-scheduler"
GATE: Final = "bulkhead.dev/quota"


def render(
    tenants: TenantSet,
    *,
    live_namespaces: Collection[str] = (),
    scheduler: str = SCHEDULER,
    guided: bool = False,
) -> list[Manifest]:
    """Objects as plain JSON-able dicts, in the order in which they should be applied; equal input, equal output.

    Args:
        tenants: what the tenant files say.
        live_namespaces: names that exist in the cluster; those under a tenant's prefix get quota, network and
            rights as the named ones do. Pods in them are refused until they have (`bulkhead.dev/ready`).
        scheduler: name of the tenant-aware scheduler; pods of tenants get it, untrusted ones must have it.
        guided: pods of tenants wait at a scheduling gate until `bulkhead serve` has quota and a node for them;
            without a scheduler that opens it, they wait for ever.
    """
    whole = [facts_definition(), facts(tenants, scheduler, GATE if guided else ""), *policies(), *mutations()]
    whole += map(runtime_class, tenants.runtime_classes.values())
    for tenant in tenants.tenants.values():
        whole += _of_tenant(tenants, tenant, live_namespaces)
    named = {name for tenant in tenants.tenants.values() for name in tenant.namespaces}
    mine = copy.deepcopy(whole)  # rule tables are shared between objects; what a caller gets is its own
    return sorted(mine, key=lambda manifest: (_is_late(manifest, named), *apply_order(manifest)))


def _is_late(manifest: Manifest, named: set[str]) -> bool:
    """A namespace that exists already becomes ready only after its quota and its NetworkPolicy stand."""
    return manifest["kind"] == "Namespace" and manifest["metadata"]["name"] not in named


def _of_tenant(tenants: TenantSet, tenant: Tenant, live: Collection[str]) -> Iterator[Manifest]:
    names = namespaces_of(tenants, tenant, live)
    yield from priority_classes(tenant)
    yield from namespaces(tenant, names)
    for name in names:
        yield from quotas(tenants, tenant, name)
        yield from network_policies(tenant, name)
        yield from access(tenant, name)
