"""What is remembered of one pod: where it stands, what it costs, and how far it is on its way. Pure."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from scheduler.kube.objects import Affinity
from scheduler.model import Placed, Shape
from tenants.ledger.charge import Charge

GATE: Final = "bulkhead.dev/quota"
ENDED: Final = frozenset({"Succeeded", "Failed"})


class Stage(enum.StrEnum):
    """How far a pod is."""

    GATED = "gated"  # ours to admit
    ASSUMED = "assumed"  # we chose a node; nothing is bound yet
    PENDING = "pending"  # kube-scheduler's to place, by way of the extender
    BOUND = "bound"  # the API server says where it stands
    LEAVING = "leaving"  # bound, and being deleted


class PodRecord(msgspec.Struct):
    """One pod that exists. `tenant` is empty for a pod of a namespace that is no tenant's: it takes room, no quota."""

    uid: str
    namespace: str
    name: str
    tenant: str
    shape: Shape
    charge: Charge
    stage: Stage
    node: str = ""
    placed: Placed | None = None  # what the cluster state holds for it, while it does
    priority: int = 0
    group: str = ""
    group_size: int = 0
    labels: dict[str, str] = {}
    born: int = 0  # seconds since the epoch
    affinity: Affinity | None = None  # as the pod states it, for the write that aims it
    raw: bytes = b""  # a gated pod in protobuf, to be written back without the gate
    version: str = ""  # resourceVersion of the object that this was read from
    owner: str = ""  # kind of the controller that makes the pod again when it is deleted

    @property
    def key(self) -> str:
        """namespace/name, as kubectl writes it."""
        return f"{self.namespace}/{self.name}"

    @property
    def holds(self) -> bool:
        """Whether it takes room in the cluster."""
        return self.stage in {Stage.ASSUMED, Stage.BOUND, Stage.LEAVING}
