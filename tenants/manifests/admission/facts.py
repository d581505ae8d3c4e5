"""The tenant facts as data for CEL: one TenantTable that every policy reads as `params`. Pure.

A tenant is looked up by the *name* of the namespace, not by a label: a namespace is guarded from the moment
it exists, and a missing or forged label changes nothing. The table is a custom resource and no ConfigMap,
because kube-apiserver (1.36) stops its shared ConfigMap informer when the last binding that reads one goes,
and never starts it again: facts written after a reinstallation would be ignored (docs/admission.md).
"""

from __future__ import annotations

from typing import Any, Final

from tenants.isolation import needs_sandbox
from tenants.manifests.classes import priority_class_name
from tenants.manifests.namespaces import pod_security_level
from tenants.manifests.objects import Manifest, make
from tenants.manifests.quotas import allowed_classes, default_class
from tenants.model import Tenant, TenantSet

FACTS_GROUP: Final = "bulkhead.dev"
FACTS_VERSION: Final = "v1"
FACTS_KIND: Final = "TenantTable"
FACTS_NAME: Final = "tenants"
FACTS_PLURAL: Final = "tenanttables"

_TEXT: Final = {"type": "string"}
_TEXTS: Final = {"type": "array", "items": _TEXT}
_OWNERS: Final = {"type": "object", "additionalProperties": _TEXT}
_TENANT: Final = {
    "trust": (_TEXT, "trusted or untrusted"),
    "sandboxRequired": ({"type": "boolean"}, "its pods may not run without a sandbox"),
    "runtimeClass": (_TEXT, "of a pod that names none; empty = the node's default"),
    "runtimeClasses": (_TEXTS, "what its pods may name"),
    "tolerations": (_TEXTS, "taint keys that its pods may tolerate beside node.kubernetes.io/*"),
    "devices": (_TEXTS, "extended resources that its pods may ask for"),
    "priorityCeiling": ({"type": "integer", "format": "int64"}, "highest priority of its pods"),
    "priorityClass": (_TEXT, "the PriorityClass that carries that priority"),
    "podSecurity": (_TEXT, "Pod Security level of its namespaces"),
}
_TABLE: Final = {
    "scheduler": (_TEXT, "the scheduler that untrusted pods must name"),
    "gate": (_TEXT, "the scheduling gate that tenants' pods get; empty = none"),
    "namespaces": (_OWNERS, "namespace -> tenant"),
    "prefixes": (_OWNERS, "prefix of namespaces -> tenant; the longest counts"),
}


def facts_definition() -> Manifest:
    """The CustomResourceDefinition of TenantTable. Every field is required: a rule never finds one missing."""
    tenants = {"type": "object", "additionalProperties": _object(_TENANT)}
    spec = _object({**_TABLE, "tenants": (tenants, "tenant -> what its pods may be")})
    schema = {"type": "object", "required": ["spec"], "properties": {"spec": spec}}
    version = {
        "name": FACTS_VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    return make(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        f"{FACTS_PLURAL}.{FACTS_GROUP}",
        spec={
            "group": FACTS_GROUP,
            "scope": "Cluster",
            "names": {"kind": FACTS_KIND, "plural": FACTS_PLURAL, "singular": FACTS_KIND.lower()},
            "versions": [version],
        },
    )


def facts(tenants: TenantSet, scheduler: str, gate: str) -> Manifest:
    """The table. With what the API server adds it has to stay under etcd's 2 MiB: 2,000 tenants fit."""
    everyone = [tenants.tenants[name] for name in sorted(tenants.tenants)]
    spec = {
        "scheduler": scheduler,
        "gate": gate,
        "namespaces": dict(sorted((name, t.name) for t in everyone for name in t.namespaces)),
        "prefixes": dict(sorted((prefix, t.name) for t in everyone for prefix in t.namespace_prefixes)),
        "tenants": {tenant.name: _of_tenant(tenants, tenant) for tenant in everyone},
    }
    return make(f"{FACTS_GROUP}/{FACTS_VERSION}", FACTS_KIND, FACTS_NAME, spec=spec)


def _of_tenant(tenants: TenantSet, tenant: Tenant) -> dict[str, Any]:
    classes = allowed_classes(tenants, tenant)
    tolerated = {
        t["key"] for name in classes for t in tenants.runtime_classes[name].tolerations if "key" in t
    }
    devices = {d.resource for d, share in tenant.quota.items() if "/" in d.resource and share.max != 0}
    return {
        "trust": tenant.trust.value,
        "sandboxRequired": needs_sandbox(tenant),
        "runtimeClass": default_class(tenants, tenant),
        "runtimeClasses": classes,
        "tolerations": sorted(tolerated | devices),  # a GPU node is tainted with the resource's name
        "devices": sorted(devices),
        "priorityCeiling": tenant.priority_ceiling,
        "priorityClass": priority_class_name(tenant),
        "podSecurity": pod_security_level(tenant),
    }


def _object(fields: dict[str, tuple[Any, str]]) -> dict[str, Any]:
    properties = {name: {**schema, "description": about} for name, (schema, about) in fields.items()}
    return {"type": "object", "required": sorted(fields), "properties": properties}
