"""A tenant's namespaces: which exist, and the labels that say whose they are. Pure; called by `render`.

`pod-security.kubernetes.io` labels are a second wall behind our own policies, and NetworkPolicies select by
the tenant label. A namespace that somebody creates under a tenant's prefix gets the same labels from
admission, except READY: that one says that quota and NetworkPolicy stand, and only `render` gives it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tenants.manifests.objects import READY_LABEL, TRUST_LABEL, Manifest, make
from tenants.model import Tenant, TenantSet, Trust

_POD_SECURITY = "pod-security.kubernetes.io/"


def namespaces_of(tenants: TenantSet, tenant: Tenant, live: Collection[str]) -> list[str]:
    """Those that the tenant's file names, and those of `live` that its prefixes cover."""
    covered = (name for name in live if tenants.tenant_of(name) is tenant)
    return sorted({*tenant.namespaces, *covered})


def pod_security_level(tenant: Tenant) -> str:
    """Of the Pod Security Standards."""
    return "restricted" if tenant.trust is Trust.UNTRUSTED else "baseline"


def namespaces(tenant: Tenant, names: list[str]) -> Iterator[Manifest]:
    """One Namespace each."""
    level = pod_security_level(tenant)
    labels = {
        TRUST_LABEL: tenant.trust.value,
        READY_LABEL: "true",
        f"{_POD_SECURITY}enforce": level,
        f"{_POD_SECURITY}warn": level,  # tells about a template when it is written, not when its pod fails
    }
    for name in names:
        yield make("v1", "Namespace", name, tenant=tenant, labels=labels)
