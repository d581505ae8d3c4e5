"""Builders of tenants for tests: everything has a default, a test names only what it is about."""

from __future__ import annotations

from collections.abc import Mapping

from tenants.isolation import Presence
from tenants.model import (
    SANDBOX_HANDLER,
    Allowance,
    CoResidency,
    Dimension,
    Isolation,
    Quota,
    Runtime,
    RuntimeClass,
    Tenant,
    Trust,
)

CLASSES: Mapping[str, RuntimeClass] = {
    "bulkhead": RuntimeClass(
        name="bulkhead", handler=SANDBOX_HANDLER, overhead_cpu_milli=100, overhead_memory_mib=128
    ),
    "runc": RuntimeClass(name="runc", handler="runc"),
}


def make_tenant(
    name: str = "a",
    *,
    trust: Trust = Trust.TRUSTED,
    runtime: Runtime = Runtime.AUTO,
    co_residency: CoResidency = CoResidency.SHARED,
    never_with: tuple[str, ...] = (),
    blast_radius: int | None = None,
    quota: Quota | None = None,
    parent: str = "",
) -> Tenant:
    """A tenant; untrusted only when the test says so."""
    wall = Isolation(
        runtime=runtime,
        co_residency=co_residency,
        never_with=frozenset(never_with),
        blast_radius=blast_radius,
    )
    return Tenant(
        name=name, trust=trust, isolation=wall, quota=quota or {}, parent=parent, namespaces=(name,)
    )


def make_presence(name: str = "a", *, trust: Trust = Trust.TRUSTED, sandboxed: bool | None = None,
                  co_residency: CoResidency = CoResidency.SHARED, never_with: tuple[str, ...] = (),
                  blast_radius: int | None = None) -> Presence:  # fmt: skip
    """A tenant on a node; sandboxed iff untrusted unless the test says otherwise."""
    tenant = make_tenant(
        name, trust=trust, co_residency=co_residency, never_with=never_with, blast_radius=blast_radius
    )
    return Presence(tenant, trust is Trust.UNTRUSTED if sandboxed is None else sandboxed)


def cpu(guaranteed: int, **rest: int) -> Quota:
    """A quota of milli-CPU in the default pool."""
    return {Dimension("default", "cpu"): Allowance(guaranteed=guaranteed, **rest)}
