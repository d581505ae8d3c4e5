"""What a platform team says about its tenants, as frozen values with defaults filled in. Pure.

`files.build` makes these from tenant files; the ledger, the manifests and the scheduler read them. Nothing
here knows YAML, the API server or the clock. Amounts are integers in the units of `quantity.UNITS`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from tenants.quantity import UNLIMITED, Limit

SANDBOX_HANDLER: Final = "bulkhead"
DEFAULT_POOL: Final = "default"
PRIORITY_LIMIT: Final = 1_000_000_000  # above it Kubernetes keeps the values for its own system classes
METADATA_ADDRESSES: Final = (  # closed for every tenant: whoever reaches one may act as the node
    "169.254.169.254/32",  # AWS, Azure, Google Cloud, OpenStack and most others
    "fd00:ec2::254/128",  # AWS over IPv6
    "169.254.170.2/32",  # AWS, credentials of containers
    "100.100.100.200/32",  # Alibaba Cloud
)
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Trust(enum.StrEnum):
    """Whether the tenant's code may meet the host kernel."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"


class Runtime(enum.StrEnum):
    """Which runtime the tenant's pods get. AUTO: a sandbox if untrusted, else what the pod asks (runc)."""

    AUTO = "auto"
    RUNC = "runc"
    BULKHEAD = "bulkhead"


class CoResidency(enum.StrEnum):
    """Whom the tenant accepts as neighbours on a node."""

    SHARED = "shared"  # anybody
    TRUSTED_ONLY = "trusted-only"  # trusted tenants and itself
    TENANT_ONLY = "tenant-only"  # itself
    EXCLUSIVE = "exclusive"  # nobody: each of its pods has a node of its own


class Cores(enum.StrEnum):
    """What hardware the tenant shares with no other tenant: threads of one core, or one NUMA node."""

    NONE = "none"
    CORE = "core"
    NUMA = "numa"


class Isolation(msgspec.Struct, frozen=True, kw_only=True):
    """The wall and the neighbours.

    `blast_radius`: how many untrusted tenants a node that holds this one may hold.
    """

    runtime: Runtime = Runtime.AUTO
    co_residency: CoResidency = CoResidency.SHARED
    cores: Cores = Cores.NONE
    never_with: frozenset[str] = frozenset()
    blast_radius: int | None = None


class Dimension(NamedTuple):
    """One thing shared out: a resource of a pool; with `runtime_class`, only that class's use of it."""

    pool: str
    resource: str
    runtime_class: str = ""

    def __str__(self) -> str:
        """As tenant files and refusals name it: default/cpu, or default/bulkhead/cpu for one RuntimeClass."""
        return "/".join(part for part in (self.pool, self.runtime_class, self.resource) if part)


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """A node's share of one dimension.

    `guaranteed` comes back by reclaim when lent, `max` ends borrowing, `lend` is how much of the guarantee
    others may use meanwhile, `weight` orders borrowers.
    """

    guaranteed: int = 0
    max: Limit = UNLIMITED
    lend: Limit = UNLIMITED
    weight: int = 1


Quota = Mapping[Dimension, Allowance]


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """`port` None = every port of the protocol; `end_port` closes an inclusive range and needs a number."""

    protocol: str = "TCP"
    port: int | str | None = None
    end_port: int | None = None


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """The other end of a flow: exactly one of tenant, namespace, cidr. No ports = every port."""

    tenant: str = ""
    namespace: str = ""
    cidr: str = ""
    exclude: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """Who may talk to whom. `isolate`: only what is listed, DNS, and the tenant's own pods."""

    isolate: bool = True
    dns: bool = True
    allow_from: tuple[Peer, ...] = ()
    allow_to: tuple[Peer, ...] = ()


class Admin(msgspec.Struct, frozen=True, kw_only=True):
    """Who administers a tenant's namespaces: an RBAC subject."""

    kind: str
    name: str
    namespace: str = ""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """An inner node of the tenant tree. A fence keeps the preemption of its members inside it."""

    name: str
    parent: str = ""
    quota: Quota = MappingProxyType({})
    fence: bool = False


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A leaf of the tree: the one who runs pods. Defaults are those of an untrusted stranger."""

    name: str
    parent: str = ""
    trust: Trust = Trust.UNTRUSTED
    isolation: Isolation = Isolation()
    namespaces: tuple[str, ...] = ()
    namespace_prefixes: tuple[str, ...] = ()
    quota: Quota = MappingProxyType({})
    reclaim: bool = True
    fence: bool = False
    priority_ceiling: int = 0
    network: Network = Network()
    admins: tuple[Admin, ...] = ()

    def owns(self, namespace: str) -> bool:
        """Whether a namespace of this name is the tenant's."""
        return namespace in self.namespaces or namespace.startswith(self.namespace_prefixes)


class RuntimeClass(msgspec.Struct, frozen=True, kw_only=True):
    """A node.k8s.io/v1 RuntimeClass: which handler, and what it costs beside the pod's own requests."""

    name: str
    handler: str
    overhead_cpu_milli: int = 0
    overhead_memory_mib: int = 0
    node_selector: Mapping[str, str] = _NOTHING
    tolerations: tuple[Mapping[str, str], ...] = ()

    @property
    def sandboxed(self) -> bool:
        """Whether its pods get a kernel of their own."""
        return self.handler == SANDBOX_HANDLER


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of node that quota is stated for; `allocatable` is what its nodes offer, where known."""

    name: str
    node_labels: Mapping[str, str] = _NOTHING
    allocatable: Mapping[str, int] = MappingProxyType({})


class NodeClass(msgspec.Struct, frozen=True, kw_only=True):
    """What nodes with these labels can do, and how many untrusted tenants one of them may hold."""

    name: str
    node_labels: Mapping[str, str] = _NOTHING
    handlers: frozenset[str] = frozenset({"runc", SANDBOX_HANDLER})
    blast_radius: int | None = None


class TenantSet(msgspec.Struct, frozen=True, kw_only=True):
    """All that a directory of tenant files says; `blast_radius` holds for nodes without a NodeClass."""

    tenants: Mapping[str, Tenant] = MappingProxyType({})
    groups: Mapping[str, Group] = MappingProxyType({})
    pools: Mapping[str, Pool] = MappingProxyType({})
    node_classes: Mapping[str, NodeClass] = MappingProxyType({})
    runtime_classes: Mapping[str, RuntimeClass] = MappingProxyType({})
    blast_radius: int | None = None

    def tenant_of(self, namespace: str) -> Tenant | None:
        """The tenant that owns a namespace: an explicit name wins, then the longest prefix."""
        explicit = next((t for t in self.tenants.values() if namespace in t.namespaces), None)
        if explicit is not None:
            return explicit
        fitting = [
            (len(prefix), tenant.name)
            for tenant in self.tenants.values()
            for prefix in tenant.namespace_prefixes
            if namespace.startswith(prefix)
        ]
        return self.tenants[max(fitting)[1]] if fitting else None
