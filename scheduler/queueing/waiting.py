"""The words of the queue: a pod that waits, the group it belongs to, and what a round says about it."""

from __future__ import annotations

import enum

import msgspec

from scheduler.model import Placed, Shape
from tenants.ledger.charge import Charge


class Code(enum.StrEnum):
    """Why a pod waits. The codes in events, conditions and metrics."""

    WAITING_FOR_QUOTA = "WaitingForQuota"  # in use by others
    BORROWING_LIMIT = "BorrowingLimitReached"  # the tenant's own max, or that of a group above
    EXCEEDS_MAX = "ExceedsMaxQuota"  # could not go if everything else were idle
    NOT_STATED = "DimensionNotStated"  # asks for a resource that its tenant's files do not mention
    NO_TENANT = "NoSuchTenant"
    NO_ROOM = "NoRoom"  # quota is there, and no node can take it
    HOLDS_NODE = "WaitingForNode"  # the same, and one node is kept free for it
    GROUP = "WaitingForGroup"  # members are missing
    BEHIND_PRIORITY = "BehindPriority"  # quota is kept for a pod of higher priority
    BEHIND_OLDER = "BehindOlder"  # quota is kept for a pod that has waited too long
    ROUND_LIMIT = "RoundLimit"  # it is its turn soon
    NEW = "NotTriedYet"


class Group(msgspec.Struct, frozen=True):
    """Pods that start together: none goes before `min_count` of them can. `name` is unique within a namespace."""

    name: str
    min_count: int


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A pod that waits. `key` is namespace/name; `arrived` in seconds of the caller's clock, kept if it comes back."""

    uid: str
    key: str
    tenant: str
    shape: Shape
    charge: Charge
    priority: int = 0
    arrived: float = 0.0
    group: Group | None = None

    @property
    def order(self) -> tuple[int, float, str]:
        """The order within a tenant: priority, then arrival, then UID."""
        return -self.priority, self.arrived, self.uid


class Story(msgspec.Struct, frozen=True):
    """Why a pod waits, for people: `detail` has the numbers."""

    code: Code
    detail: str = ""

    def __str__(self) -> str:
        """As in an event: `WaitingForQuota: tenant agents …`."""
        return f"{self.code}: {self.detail}" if self.detail else str(self.code)


class Guided(msgspec.Struct, frozen=True):
    """The pod has left the queue: its quota is to be reserved, its room is taken."""

    waiting: Waiting
    placed: Placed


class Waits(msgspec.Struct, frozen=True):
    """The pod stays, and the reason is another one than was last told."""

    waiting: Waiting
    code: Code
    detail: str


Outcome = Guided | Waits
