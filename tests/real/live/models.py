"""The tenants that these tests apply, and how to change one of them."""

from __future__ import annotations

from typing import Any

import msgspec

from tenants.model import Admin, Allowance, Dimension, Tenant, TenantSet
from tests.support.manifests import AGENTS, CAUTIOUS, PLATFORM, TENANTS


def stated(tenant: Tenant) -> Tenant:
    """With the quota that tenant files must state."""
    needed = {Dimension("default", "cpu"): Allowance(), Dimension("default", "memory"): Allowance()}
    return msgspec.structs.replace(tenant, quota={**needed, **tenant.quota})


# The shared sample holds what only a renderer is asked for: overlapping prefixes, an account without a namespace.
CAREFUL = msgspec.structs.replace(
    CAUTIOUS, namespace_prefixes=(), admins=(Admin(kind="ServiceAccount", name="deployer", namespace="ci"),)
)
MODEL = msgspec.structs.replace(TENANTS, tenants={t.name: stated(t) for t in (PLATFORM, AGENTS, CAREFUL)})


def without(model: TenantSet, name: str) -> TenantSet:
    """Without the tenant, and without the peers that name it."""
    kept = {}
    for other, tenant in model.tenants.items():
        lists = {key: tuple(peer for peer in getattr(tenant.network, key) if peer.tenant != name)
                 for key in ("allow_from", "allow_to")}  # fmt: skip
        if other != name:
            kept[other] = msgspec.structs.replace(
                tenant, network=msgspec.structs.replace(tenant.network, **lists)
            )
    return msgspec.structs.replace(model, tenants=kept)


def changed(model: TenantSet, name: str, **fields: Any) -> TenantSet:
    tenant = msgspec.structs.replace(model.tenants[name], **fields)
    return msgspec.structs.replace(model, tenants={**model.tenants, name: tenant})
