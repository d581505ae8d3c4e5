"""The event file as its format states it: one JSON object a line, told apart by `event`. Read by `verify`."""

from __future__ import annotations

from typing import Annotated

import msgspec

SCHEMA = 1

Amount = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 16)]


class Run(msgspec.Struct, tag_field="event", tag="run"):
    """What follows, up to the next such line, is one replay on an empty cluster."""

    schema: int
    policy: str
    seed: int


class Taint(msgspec.Struct):
    """A node taint."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"


class Node(msgspec.Struct, tag_field="event", tag="node"):
    """A node; a base resource that `allocatable` does not state does not limit."""

    name: str
    allocatable: dict[str, Amount]
    gpus: Count
    gpu_model: str
    labels: dict[str, str]
    taints: list[Taint]
    unschedulable: bool
    sandboxes: bool
    blast_radius: int | None


class Tenant(msgspec.Struct, tag_field="event", tag="tenant"):
    """A tenant and whom it accepts beside it."""

    name: str
    trust: str
    runtime: str
    co_residency: str
    never_with: list[str]
    blast_radius: int | None

    @property
    def untrusted(self) -> bool:
        """Whether its code may not meet the host kernel."""
        return self.trust != "trusted"


class RuntimeClass(msgspec.Struct, tag_field="event", tag="runtime_class"):
    """A runtime class; the handler `bulkhead` is the one with a kernel of its own."""

    name: str
    handler: str
    overhead: dict[str, Amount]

    @property
    def sandboxed(self) -> bool:
        """Whether its pods get a kernel of their own."""
        return self.handler == "bulkhead"


class Gpu(msgspec.Struct):
    """`count` devices of `milli` each; no models = any."""

    count: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]
    milli: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    models: list[str] = []


class Requirement(msgspec.Struct):
    """A node affinity expression."""

    key: str
    operator: str
    values: list[str] = []


class Toleration(msgspec.Struct):
    """A pod toleration."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


class Spread(msgspec.Struct):
    """A hard topology spread constraint."""

    topology_key: str
    max_skew: int
    group: str


class Shape(msgspec.Struct):
    """What a pod asks."""

    requests: list[tuple[str, Amount]]
    gpu: Gpu | None = None
    tenant: str = ""
    runtime_class: str = ""
    node_selector: list[tuple[str, str]] = []
    affinity: list[list[Requirement]] = []
    tolerations: list[Toleration] = []
    spread: list[Spread] = []


class Standing(msgspec.Struct, tag_field="event", tag="standing"):
    """A pod that stands there from the start by another's decision; it takes room and is not judged."""

    pod: str
    shape: msgspec.Raw
    node: str
    devices: tuple[int, ...] = ()
    sandboxed: bool | None = None
    overhead: dict[str, int] = {}


class Placed(msgspec.Struct, tag_field="event", tag="placed"):
    """A pod stands on `node`. The shape stays raw: few are distinct, each is decoded once."""

    seq: int
    pod: str
    shape: msgspec.Raw
    node: str
    devices: tuple[int, ...] = ()
    sandboxed: bool | None = None
    overhead: dict[str, int] = {}


class Blocker(msgspec.Struct):
    """How many nodes a reason rules out."""

    reason: str
    nodes: int
    asked: int | None = None
    most: int | None = None


class Refused(msgspec.Struct, tag_field="event", tag="refused"):
    """A pod that no node could take."""

    seq: int
    pod: str
    shape: msgspec.Raw
    reason: str
    blockers: list[Blocker] = []
    detail: str = ""
    sandboxed: bool | None = None
    overhead: dict[str, int] = {}


Line = Run | Node | Tenant | RuntimeClass | Standing | Placed | Refused
