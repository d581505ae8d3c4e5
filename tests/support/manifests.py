"""The set of tenants that manifest tests render: an untrusted one, two trusted ones, and prefixes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tenants.model import (
    Admin,
    Allowance,
    Dimension,
    Group,
    Isolation,
    Network,
    Peer,
    Port,
    Runtime,
    RuntimeClass,
    Tenant,
    TenantSet,
    Trust,
)

Manifest = dict[str, Any]

SANDBOX: Final = RuntimeClass(
    name="bulkhead",
    handler="bulkhead",
    overhead_cpu_milli=100,
    overhead_memory_mib=128,
    tolerations=({"key": "bulkhead.dev/sandbox", "operator": "Exists"},),
)
RUNC: Final = RuntimeClass(name="runc", handler="runc")

AGENTS: Final = Tenant(
    name="agents",
    parent="org",
    namespaces=("agents",),
    namespace_prefixes=("agents-",),
    quota={
        Dimension("default", "cpu"): Allowance(max=48_000),
        Dimension("default", "memory"): Allowance(max=192 * 1024),
        Dimension("default", "nvidia.com/gpu"): Allowance(max=4_500),
        Dimension("default", "sandboxes"): Allowance(max=200),
        Dimension("default", "memory", "bulkhead"): Allowance(max=100 * 1024),
    },
    network=Network(allow_to=(Peer(tenant="platform", ports=(Port(port=443),)),)),
    admins=(Admin(kind="User", name="ada"), Admin(kind="Group", name="agents-team")),
)
PLATFORM: Final = Tenant(
    name="platform",
    trust=Trust.TRUSTED,
    namespaces=("platform",),
    namespace_prefixes=("platform-",),
    priority_ceiling=1_000_000,
    quota={Dimension("default", "cpu"): Allowance(), Dimension("default", "memory"): Allowance(max=65_536)},
    network=Network(
        allow_from=(Peer(tenant="agents", ports=(Port(port=443),)),),
        allow_to=(Peer(cidr="0.0.0.0/0", exclude=("10.0.0.0/8",)),),
    ),
    admins=(Admin(kind="User", name="grace"),),
)
CAUTIOUS: Final = Tenant(
    name="cautious",
    trust=Trust.TRUSTED,
    isolation=Isolation(runtime=Runtime.BULKHEAD),
    namespaces=("cautious",),
    namespace_prefixes=("agents-vip-",),  # longer than the other tenant's, so it wins
    network=Network(isolate=False),
    admins=(Admin(kind="ServiceAccount", name="deployer"),),
)
TENANTS: Final = TenantSet(
    tenants={tenant.name: tenant for tenant in (PLATFORM, AGENTS, CAUTIOUS)},
    groups={"org": Group(name="org", quota={Dimension("default", "cpu"): Allowance(max=32_000)})},
    runtime_classes={"runc": RUNC, "bulkhead": SANDBOX},
)


def pick(manifests: list[Manifest], kind: str, namespace: str = "") -> Iterator[Manifest]:
    """The objects of one kind, in one namespace when it is named."""
    for manifest in manifests:
        if manifest["kind"] == kind and namespace in ("", manifest["metadata"].get("namespace")):
            yield manifest


def find(manifests: list[Manifest], kind: str, name: str, namespace: str = "") -> Manifest:
    """The one object of this kind and name."""
    [found] = [m for m in pick(manifests, kind, namespace) if m["metadata"]["name"] == name]
    return found
