"""What the ledger answers: admitted, or refused with a reason code and the numbers that decided. Pure."""

from __future__ import annotations

import enum

import msgspec

from tenants.model import Dimension
from tenants.quantity import render


class Reason(enum.StrEnum):
    """Why a charge or an eviction is refused. The order is that of precedence: the first that holds is reported."""

    NO_SUCH_TENANT = "NoSuchTenant"
    DIMENSION_NOT_STATED = "DimensionNotStated"  # nobody from the tenant to the root states the resource
    EXCEEDS_MAX_QUOTA = "ExceedsMaxQuota"  # more than it could have if all else were idle
    BORROWING_LIMIT_REACHED = "BorrowingLimitReached"  # its own max, or that of a group above
    WAITING_FOR_QUOTA = "WaitingForQuota"  # in use by others
    NEIGHBOURS = "Neighbours"  # quota is there, and those on the node and this tenant may not share it
    RECLAIM_DISABLED = "ReclaimDisabled"  # the tenant's file says reclaim: false
    NOT_UNDER_GUARANTEE = "NotUnderGuarantee"  # would borrow, and nobody is evicted for a borrower
    NOT_ENOUGH_VICTIMS = "NotEnoughVictims"  # those who may be evicted would not make room


class Shortage(msgspec.Struct, frozen=True):
    """One dimension that lacks room: `node` is the tenant or group whose limit decided, "" the pool itself."""

    reason: Reason
    dimension: Dimension
    asked: int
    available: int
    node: str

    def __str__(self) -> str:
        """As people read it: `default/cpu: asked 4, available 1500m at group research (WaitingForQuota)`."""
        if self.reason is Reason.DIMENSION_NOT_STATED:
            return f"{self.dimension}: nobody on the path of the tenant states it ({self.reason})"
        asked, available = (_signed(self.dimension.resource, value) for value in (self.asked, self.available))
        place = self.node or f"pool {self.dimension.pool}"
        return f"{self.dimension}: asked {asked}, available {available} at {place} ({self.reason})"


class Admitted(msgspec.Struct, frozen=True):
    """The charge is in the ledger."""

    uid: str


class Refused(msgspec.Struct, frozen=True):
    """Nothing was taken. `reason` is the gravest of the shortages; they come gravest first."""

    uid: str
    tenant: str
    reason: Reason
    shortages: tuple[Shortage, ...] = ()
    detail: str = ""

    def __str__(self) -> str:
        """The reason with every shortage, for events and logs."""
        short = "; ".join(str(one) for one in self.shortages)
        return f"{self.reason}: {short or self.detail or f'tenant {self.tenant}'}"


def refused(uid: str, tenant: str, shortages: list[Shortage]) -> Refused:
    """The refusal that these shortages amount to."""
    order = list(Reason)
    ranked = sorted(shortages, key=lambda one: (order.index(one.reason), one.dimension))
    return Refused(uid, tenant, ranked[0].reason, tuple(ranked))


def _signed(resource: str, value: int) -> str:
    return render(resource, value) if value >= 0 else f"-{render(resource, -value)}"
