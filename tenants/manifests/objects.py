"""What every rendered object shares: its marks, its names, and the order in which a set is applied. Pure.

Every other module of this package builds its objects with `make`, so that nothing leaves here without the
label by which `plan` finds what is ours and the admission policies protect it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tenants.model import Tenant

Manifest = dict[str, Any]

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
OWNER: Final = "bulkhead"
TENANT_LABEL: Final = "bulkhead.dev/tenant"
TRUST_LABEL: Final = "bulkhead.dev/trust"
READY_LABEL: Final = "bulkhead.dev/ready"
NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"  # set by the API server, immutable: safe to select by

_APPLY_ORDER: Final = (
    "CustomResourceDefinition",
    "TenantTable",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "RuntimeClass",
    "PriorityClass",
    "Namespace",
    "ResourceQuota",
    "LimitRange",
    "NetworkPolicy",
    "Role",
    "RoleBinding",
)


def make(
    api_version: str,
    kind: str,
    name: str,
    *,
    namespace: str = "",
    tenant: Tenant | None = None,
    labels: Mapping[str, str] | None = None,
    **content: Any,
) -> Manifest:
    """An object that is marked as ours; `tenant` adds whose it is, `content` is spec, data, rules, …"""
    marks = {MANAGED_BY: OWNER, **(labels or {})}
    if tenant is not None:
        marks[TENANT_LABEL] = tenant.name
    metadata: Manifest = {"name": name, "labels": dict(sorted(marks.items()))}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def apply_order(manifest: Manifest) -> tuple[int, str, str]:
    """Sort key. Policies stand before namespaces, and a tenant's rights come after its isolation."""
    metadata = manifest["metadata"]
    return _APPLY_ORDER.index(manifest["kind"]), metadata.get("namespace", ""), metadata["name"]
