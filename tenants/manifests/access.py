"""What a tenant's administrators may do in its namespaces: Role and RoleBinding. Pure; called by `render`.

They run everything that makes pods, and nothing that moves the walls: no `pods/binding`, no `pods/status`, no
token minting, and quota, limits and NetworkPolicies only to read. They may hand out roles inside the
namespace; Kubernetes refuses a role that holds more than its author does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tenants.manifests.objects import Manifest, make
from tenants.model import Admin, Tenant

_READ: Final = ["get", "list", "watch"]
_WRITE: Final = [*_READ, "create", "update", "patch", "delete", "deletecollection"]
_RBAC: Final = "rbac.authorization.k8s.io"


def _rule(group: str, resources: list[str], verbs: list[str]) -> Manifest:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


_RULES: Final[list[Manifest]] = [
    _rule(
        "",
        ["configmaps", "persistentvolumeclaims", "pods", "secrets", "serviceaccounts", "services"],
        _WRITE,
    ),
    _rule("", ["pods/attach", "pods/exec", "pods/portforward"], ["get", "create"]),
    _rule("", ["pods/ephemeralcontainers", "pods/resize"], ["get", "update", "patch"]),
    _rule("", ["pods/eviction"], ["create"]),
    _rule("", ["endpoints", "events", "limitranges", "pods/log", "pods/status", "resourcequotas"], _READ),
    _rule("apps", ["daemonsets", "deployments", "replicasets", "statefulsets"], _WRITE),
    _rule(
        "apps", ["deployments/scale", "replicasets/scale", "statefulsets/scale"], ["get", "update", "patch"]
    ),
    _rule("autoscaling", ["horizontalpodautoscalers"], _WRITE),
    _rule("batch", ["cronjobs", "jobs"], _WRITE),
    _rule("discovery.k8s.io", ["endpointslices"], _READ),
    _rule("networking.k8s.io", ["ingresses"], _WRITE),
    _rule("networking.k8s.io", ["networkpolicies"], _READ),
    _rule("policy", ["poddisruptionbudgets"], _WRITE),
    _rule(_RBAC, ["rolebindings", "roles"], _WRITE),
]


def access(tenant: Tenant, namespace: str) -> Iterator[Manifest]:
    """Nothing for a tenant without administrators."""
    if not tenant.admins:
        return
    name, api = "bulkhead-admin", f"{_RBAC}/v1"
    rules = [dict(rule) for rule in _RULES]
    yield make(api, "Role", name, namespace=namespace, tenant=tenant, rules=rules)
    yield make(
        api,
        "RoleBinding",
        name,
        namespace=namespace,
        tenant=tenant,
        roleRef={"apiGroup": _RBAC, "kind": "Role", "name": name},
        subjects=[_subject(admin, namespace) for admin in tenant.admins],
    )


def _subject(admin: Admin, namespace: str) -> dict[str, Any]:
    """A ServiceAccount without a namespace is one of the namespace that it administers."""
    if admin.kind == "ServiceAccount":
        return {"kind": admin.kind, "name": admin.name, "namespace": admin.namespace or namespace}
    return {"kind": admin.kind, "name": admin.name, "apiGroup": _RBAC}
