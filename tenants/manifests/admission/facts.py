"""The tenant facts as data for CEL: one ConfigMap that every policy reads as `params`. Pure.

Keys (`<t>` a tenant):
    namespace.<name>   the tenant that owns the namespace of this name
    prefixes           space-separated prefixes; prefix.<prefix> = the tenant that owns what it covers
    trust.<t>          trusted | untrusted
    class.<t>          RuntimeClass of a pod that names none; empty = the node's default
    classes.<t>        space-separated RuntimeClasses that its pods may name
    tolerations.<t>    space-separated taint keys that its pods may tolerate beside node.kubernetes.io/*
    devices.<t>        space-separated extended resources that its pods may ask for
    ceiling.<t>        highest priority of its pods
    priorityclass.<t>  the PriorityClass that carries that priority
    sandbox.<t>        required, where its pods may not run without one
    level.<t>          Pod Security level of its namespaces
    scheduler          the scheduler that untrusted pods must name

A tenant is looked up by the *name* of the namespace, not by a label: a namespace is guarded from the moment
it exists, and a missing or forged label changes nothing.
"""

from __future__ import annotations

from typing import Final

from tenants.isolation import needs_sandbox
from tenants.manifests.classes import priority_class_name
from tenants.manifests.namespaces import namespace_labels
from tenants.manifests.objects import FACTS_NAMESPACE, Manifest, make
from tenants.manifests.quotas import allowed_classes, default_class
from tenants.model import Tenant, TenantSet

FACTS_NAME: Final = "bulkhead-tenants"


def facts(tenants: TenantSet, scheduler: str) -> Manifest:
    """The ConfigMap. Its size bounds the number of tenants: 1 MiB holds about three thousand."""
    data = {"scheduler": scheduler}
    prefixes: list[str] = []
    for tenant in tenants.tenants.values():
        data |= {f"namespace.{name}": tenant.name for name in tenant.namespaces}
        data |= {f"prefix.{prefix}": tenant.name for prefix in tenant.namespace_prefixes}
        data |= _of_tenant(tenants, tenant)
        prefixes += tenant.namespace_prefixes
    data["prefixes"] = " ".join(sorted(prefixes))
    return make("v1", "ConfigMap", FACTS_NAME, namespace=FACTS_NAMESPACE, data=dict(sorted(data.items())))


def _of_tenant(tenants: TenantSet, tenant: Tenant) -> dict[str, str]:
    classes = allowed_classes(tenants, tenant)
    tolerated = {
        t["key"] for name in classes for t in tenants.runtime_classes[name].tolerations if "key" in t
    }
    devices = {d.resource for d, share in tenant.quota.items() if "/" in d.resource and share.max != 0}
    stated = {
        "trust": tenant.trust.value,
        "sandbox": "required" if needs_sandbox(tenant) else "",
        "class": default_class(tenants, tenant),
        "classes": " ".join(classes),
        "tolerations": " ".join(
            sorted(tolerated | devices)
        ),  # a GPU node is tainted with the resource's name
        "devices": " ".join(sorted(devices)),
        "ceiling": str(tenant.priority_ceiling),
        "priorityclass": priority_class_name(tenant),
        "level": namespace_labels(tenant)["pod-security.kubernetes.io/enforce"],
    }
    return {f"{key}.{tenant.name}": value for key, value in stated.items()}
