"""The words of placement: nodes, pods, what a pod asks, and what was decided about it.

Every value here is immutable and equal by content, so a pod's shape can key a cache. Amounts are exact integers
with the unit in the name; GPU devices have 1000 milli each.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

GPU_MILLI = 1000
CPU = "cpu_milli"
MEMORY = "memory_mib"
EPHEMERAL = "ephemeral_mib"
PODS = "pods"
BASE_RESOURCES = (CPU, MEMORY, EPHEMERAL, PODS)

Amounts = tuple[tuple[str, int], ...]


def amounts(values: Mapping[str, int]) -> Amounts:
    """Turn a mapping into its canonical hashable form: sorted by name, zeros dropped."""
    return tuple(sorted((name, value) for name, value in values.items() if value))


class Reason(enum.IntEnum):
    """Why a node cannot take a pod. The order is the order of the checks; the first that fails is the reason."""

    FITS = 0
    NODE_GONE = 1
    UNSCHEDULABLE = 2
    TAINT = 3
    NODE_AFFINITY = 4
    GPU_MODEL = 5
    NO_SANDBOX = 6
    EXCLUSIVE = 7
    TENANT_ONLY = 8
    NEVER_WITH = 9
    TRUSTED_ONLY = 10
    UNSANDBOXED_NEIGHBOUR = 11
    BLAST_RADIUS = 12
    TOPOLOGY_SPREAD = 13
    CPU = 14
    MEMORY = 15
    EPHEMERAL = 16
    PODS = 17
    EXTENDED = 18
    GPU_DEVICES = 19
    GPU_FRACTION = 20

    @property
    def code(self) -> str:
        """The code in events, metrics and JSON, for example `InsufficientCPU`."""
        return REASON_CODES[self]


REASON_CODES: dict[Reason, str] = {
    Reason.FITS: "Fits",
    Reason.NODE_GONE: "NodeGone",
    Reason.UNSCHEDULABLE: "NodeUnschedulable",
    Reason.TAINT: "UntoleratedTaint",
    Reason.NODE_AFFINITY: "NodeAffinityMismatch",
    Reason.GPU_MODEL: "GPUModelMismatch",
    Reason.NO_SANDBOX: "NodeCannotSandbox",
    Reason.EXCLUSIVE: "Exclusive",
    Reason.TENANT_ONLY: "TenantOnly",
    Reason.NEVER_WITH: "NeverWith",
    Reason.TRUSTED_ONLY: "TrustedOnly",
    Reason.UNSANDBOXED_NEIGHBOUR: "UnsandboxedNeighbour",
    Reason.BLAST_RADIUS: "BlastRadius",
    Reason.TOPOLOGY_SPREAD: "TopologySpread",
    Reason.CPU: "InsufficientCPU",
    Reason.MEMORY: "InsufficientMemory",
    Reason.EPHEMERAL: "InsufficientEphemeralStorage",
    Reason.PODS: "TooManyPods",
    Reason.EXTENDED: "InsufficientExtendedResource",
    Reason.GPU_DEVICES: "InsufficientWholeGPUs",
    Reason.GPU_FRACTION: "InsufficientGPUFraction",
}


class Taint(msgspec.Struct, frozen=True, order=True):
    """A node taint; `effect` is NoSchedule, NoExecute or PreferNoSchedule."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"


class Toleration(msgspec.Struct, frozen=True, order=True):
    """A pod toleration; an empty key with operator Exists tolerates everything, an empty effect every effect."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


class Requirement(msgspec.Struct, frozen=True, order=True):
    """One node-affinity expression: In, NotIn, Exists, DoesNotExist, Gt or Lt over a label key."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class Spread(msgspec.Struct, frozen=True, order=True):
    """A hard topology spread: pods of one `group` differ by at most `max_skew` between values of `topology_key`."""

    topology_key: str
    max_skew: int
    group: str


class Gpu(msgspec.Struct, frozen=True, order=True):
    """A GPU request: `count` devices of `milli` each; `models` empty means any model."""

    count: int
    milli: int
    models: tuple[str, ...] = ()


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides where a pod may stand; pods of equal shape are interchangeable."""

    requests: Amounts
    gpu: Gpu | None = None
    tenant: str = ""
    runtime_class: str = ""
    node_selector: tuple[tuple[str, str], ...] = ()
    affinity: tuple[tuple[Requirement, ...], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    spread: tuple[Spread, ...] = ()

    @property
    def label_keys(self) -> frozenset[str]:
        """The node labels this shape looks at."""
        selector = {key for key, _ in self.node_selector}
        affinity = {requirement.key for term in self.affinity for requirement in term}
        return frozenset(selector | affinity | {spread.topology_key for spread in self.spread})


class Pod(msgspec.Struct, frozen=True):
    """A pod that asks for a place; `uid` is unique over the life of the cluster."""

    uid: str
    shape: Shape


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A node as it reports itself: what is allocatable, its devices, labels and taints."""

    name: str
    allocatable: Amounts
    gpus: int = 0
    gpu_model: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    sandboxes: bool = True


class Placed(msgspec.Struct, frozen=True, tag="placed"):
    """The pod stands on `node`; `devices` are the indices of the GPUs it holds there."""

    pod: str
    node: str
    devices: tuple[int, ...] = ()


class Blocker(msgspec.Struct, frozen=True):
    """How many nodes one reason rules out, with the amount asked and the most any of these nodes has."""

    reason: str
    nodes: int
    asked: int | None = None
    most: int | None = None


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """No node can take the pod now. `blockers` add up to all nodes; `reason` is the one that decided.

    The deciding reason is the one of the nodes that got furthest through the checks: a pod that wants a V100 is
    not refused by the many nodes of another model but by the few V100 nodes that are full.
    """

    pod: str
    reason: str
    blockers: tuple[Blocker, ...] = ()
    detail: str = ""


Decision = Placed | Refused
