"""What can be wrong with a decision. A placement breaks a rule of its node; a refusal says what is not so. Pure."""

from __future__ import annotations

import enum

import msgspec


class Kind(enum.StrEnum):
    """The kinds of violation; the first group doubles as the codes by which refusals name what rules a node out."""

    UNSCHEDULABLE = "NodeUnschedulable"
    TAINT = "UntoleratedTaint"
    NODE_AFFINITY = "NodeAffinityMismatch"
    GPU_MODEL = "GPUModelMismatch"
    NO_SANDBOX = "NodeCannotSandbox"
    EXCLUSIVE = "Exclusive"
    TENANT_ONLY = "TenantOnly"
    NEVER_WITH = "NeverWith"
    TRUSTED_ONLY = "TrustedOnly"
    UNSANDBOXED_NEIGHBOUR = "UnsandboxedNeighbour"
    BLAST_RADIUS = "BlastRadius"
    CPU = "InsufficientCPU"
    MEMORY = "InsufficientMemory"
    EPHEMERAL = "InsufficientEphemeralStorage"
    POD_SLOTS = "TooManyPods"
    EXTENDED = "InsufficientExtendedResource"
    WHOLE_GPUS = "InsufficientWholeGPUs"
    GPU_FRACTION = "InsufficientGPUFraction"
    SPREAD = "TopologySpread"

    SEQUENCE = "OutOfSequence"
    UNKNOWN_NODE = "UnknownNode"
    DECIDED_TWICE = "DecidedTwice"
    DEVICES = "WrongDevices"
    RUNTIME = "WrongRuntime"
    OVERHEAD = "WrongOverhead"
    TENANT_RULES = "PlacedAgainstTenantRules"
    FITS = "RefusedThoughItFits"
    TOTAL = "BlockersDoNotAddUp"
    BLOCKER = "FalseBlocker"
    AMOUNT = "FalseAmount"
    REASON = "FalseReason"


CHECKS: tuple[Kind, ...] = tuple(Kind)[: list(Kind).index(Kind.SPREAD) + 1]
"""What rules a node out, in the order of checking; a refusal counts each node under the first that it fails."""
BIT: dict[Kind, int] = {kind: 1 << place for place, kind in enumerate(CHECKS)}
ISOLATION = CHECKS[CHECKS.index(Kind.EXCLUSIVE) : CHECKS.index(Kind.CPU)]
"""Rules between tenants: a node may break several at once, and a refusal may name any of them."""


class Violation(msgspec.Struct, frozen=True):
    """One thing wrong: the line of the event file, its kind, and a sentence with the numbers."""

    line: int
    kind: Kind
    what: str
