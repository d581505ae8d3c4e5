"""Model -> ResourceQuota and LimitRange of a namespace. Pure; called by `render`.

The ledger enforces the tenant tree exactly, over all namespaces and pools; a ResourceQuota sees one namespace
and neither pool nor RuntimeClass. So it states the least upper bound that it can: per resource the sum over
pools of the smallest `max` on the path to the root. Where every pod of a tenant must be of one RuntimeClass,
that class's `max` is a bound on all its pods and counts as well. It holds when the scheduler is away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from tenants.isolation import Choice, choose_runtime, needs_sandbox
from tenants.manifests.objects import Manifest, make
from tenants.model import Dimension, Group, Tenant, TenantSet, Trust
from tenants.quantity import UNLIMITED, Limit, Unit, plus, render, unit_of

_OURS_ALONE: Final = frozenset({"disk-bandwidth", "network-bandwidth"})  # no Kubernetes resource has them
_DEFAULT_REQUEST: Final = {"cpu": "100m", "memory": "128Mi"}
# What a tenant can fill etcd and the controllers with; ports and addresses of nodes are the platform's.
_UNTRUSTED_COUNTS: Final = {
    "configmaps": "1000",
    "count/cronjobs.batch": "200",
    "count/daemonsets.apps": "20",
    "count/deployments.apps": "500",
    "count/jobs.batch": "2000",
    "count/statefulsets.apps": "200",
    "persistentvolumeclaims": "500",
    "secrets": "1000",
    "services": "500",
    "services.loadbalancers": "0",
    "services.nodeports": "0",
}


def allowed_classes(tenants: TenantSet, tenant: Tenant) -> list[str]:
    """RuntimeClasses that the tenant's pods may name."""
    known = tenants.runtime_classes
    return [name for name in sorted(known) if isinstance(choose_runtime(tenant, name, known), Choice)]


def default_class(tenants: TenantSet, tenant: Tenant) -> str:
    """The class of a pod that names none; empty = the node's default handler."""
    answer = choose_runtime(tenant, None, tenants.runtime_classes)
    chosen = answer.runtime_class if isinstance(answer, Choice) else None
    return chosen.name if chosen else ""


def hard_limits(tenants: TenantSet, tenant: Tenant) -> dict[str, str]:
    """ResourceQuota `spec.hard`; a resource without a limit is absent."""
    caps = _caps(tenants, tenant, runtime_class="")
    classes = allowed_classes(tenants, tenant)
    if needs_sandbox(tenant):
        if len(classes) == 1:
            caps = _tighter(caps, _caps(tenants, tenant, runtime_class=classes[0]))
        caps = _sandboxes_are_pods(caps)
    caps.pop("sandboxes", None)
    hard = dict(_UNTRUSTED_COUNTS) if tenant.trust is Trust.UNTRUSTED else {}
    hard |= {_quota_name(resource): _written(resource, cap) for resource, cap in caps.items()}
    return dict(sorted(hard.items()))


def quotas(tenants: TenantSet, tenant: Tenant, namespace: str) -> Iterator[Manifest]:
    """The namespace's bounds, and the requests of a container that states none: quota needs a number."""
    hard = hard_limits(tenants, tenant)
    if hard:
        yield make("v1", "ResourceQuota", "bulkhead", namespace=namespace, tenant=tenant, spec={"hard": hard})
    if tenant.trust is Trust.UNTRUSTED:
        yield _no_affinity_across_namespaces(tenant, namespace)
    defaults = {"type": "Container", "defaultRequest": dict(_DEFAULT_REQUEST)}
    yield make(
        "v1", "LimitRange", "bulkhead", namespace=namespace, tenant=tenant, spec={"limits": [defaults]}
    )


def _no_affinity_across_namespaces(tenant: Tenant, namespace: str) -> Manifest:
    """Anti-affinity against the pods of others would keep them off every node of a zone."""
    scope = {"scopeName": "CrossNamespacePodAffinity", "operator": "Exists"}
    spec = {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [scope]}}
    return make("v1", "ResourceQuota", "bulkhead-affinity", namespace=namespace, tenant=tenant, spec=spec)


def _caps(tenants: TenantSet, tenant: Tenant, runtime_class: str) -> dict[str, int]:
    """Resource -> sum over pools; a pool without a limit leaves the resource out."""
    path = _path(tenants, tenant)
    sums: dict[str, Limit] = {}
    for dimension in sorted({d for node in path for d in node.quota if d.runtime_class == runtime_class}):
        cap = _on_path(path, dimension)
        so_far = sums.get(dimension.resource, 0)
        both = so_far is not UNLIMITED and cap is not UNLIMITED
        sums[dimension.resource] = plus(so_far, cap) if both else UNLIMITED  # type: ignore[arg-type]
    return {
        resource: cap
        for resource, cap in sums.items()
        if cap is not UNLIMITED and resource not in _OURS_ALONE
    }


def _path(tenants: TenantSet, tenant: Tenant) -> list[Tenant | Group]:
    path: list[Tenant | Group] = [tenant]
    while path[-1].parent in tenants.groups and len(path) <= len(tenants.groups):
        path.append(tenants.groups[path[-1].parent])
    return path


def _on_path(path: list[Tenant | Group], dimension: Dimension) -> Limit:
    stated = [node.quota[dimension].max for node in path if dimension in node.quota]
    finite = [limit for limit in stated if limit is not UNLIMITED]
    return min(finite) if finite else UNLIMITED


def _tighter(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {**one, **other} | {name: min(one[name], other[name]) for name in one.keys() & other.keys()}


def _sandboxes_are_pods(caps: dict[str, int]) -> dict[str, int]:
    """A tenant whose every pod is a sandbox may have as many pods as sandboxes."""
    if "sandboxes" not in caps:
        return caps
    return _tighter(caps, {"pods": caps["sandboxes"]})


def _quota_name(resource: str) -> str:
    return resource if resource == "pods" else f"requests.{resource}"


def _written(resource: str, cap: int) -> str:
    """An extended resource is whole to Kubernetes: half a GPU more than one is one."""
    if "/" in resource and unit_of(resource) is Unit.MILLI:
        return str(cap // 1000)
    return render(resource, cap)
