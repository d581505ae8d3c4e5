"""What one pod costs its tenant. Pure; the scheduler makes a `Charge` of every pod that it binds or finds bound.

A charge is the pod's requests plus the overhead of its RuntimeClass, keyed by the pod's UID: never by a label,
which whoever runs the pod can edit. What it charges per dimension is derived by the ledger from the tree of the
day, so a charge outlives any change of quota.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import msgspec

from tenants.errors import LedgerError
from tenants.model import DEFAULT_POOL, RuntimeClass
from tenants.quantity import CEILING, plus

PODS: Final = "pods"
SANDBOXES: Final = "sandboxes"
COUNTS: Final = frozenset(
    {PODS, SANDBOXES}
)  # no pod asks for these, so they limit only where somebody states them

Amounts = tuple[tuple[str, int], ...]


class Charge(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a pod takes while it exists.

    `amounts`: resource and amount in the units of `quantity.UNITS`, sorted, without zeros. `application`: pods
    of one application never evict one another ("" = none). `born`: its creation time in any
    unit; of two equal victims the newer one goes. `node`: where it stands or is to
    stand, "" while that is open; no quota depends on it, neighbours do.

    Raises:
        LedgerError: an amount that is not positive or no 64-bit integer, or a resource named twice.
    """

    uid: str
    tenant: str
    amounts: Amounts
    pool: str = DEFAULT_POOL
    runtime_class: str = ""
    priority: int = 0
    application: str = ""
    born: int = 0
    node: str = ""

    def __post_init__(self) -> None:
        """Refuse what would be a way round the quota: a negative amount, or one resource in two parts."""
        names = [resource for resource, _ in self.amounts]
        if any(not 0 < amount <= CEILING for _, amount in self.amounts) or names != sorted(set(names)):
            raise LedgerError(
                f"charge of pod {self.uid}: amounts are positive, one per resource, sorted by name"
            )


class Phase(enum.StrEnum):
    """How a charge stands in the ledger; all four hold quota, and only HELD ones can be victims."""

    HELD = "held"  # admitted
    TERMINATING = "terminating"  # still there, and nobody's victim any more
    CLAIMED = "claimed"  # waits for its victims to leave; what they free is not for others
    RESERVED = "reserved"  # on its way to a node; no pod runs yet that could be evicted


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A line of the ledger.

    `deadline_s` (wall-clock seconds, 0 = none): until when a reservation waits to be confirmed, or how long an entry
    is believed whose pod the watch does not show. `made_s` is when that was written: an earlier present shows that
    the clock was set back.
    """

    charge: Charge
    phase: Phase = Phase.HELD
    made_s: float = 0.0
    deadline_s: float = 0.0


def cost(requests: Mapping[str, int], runtime_class: RuntimeClass | None = None) -> Amounts:
    """`requests` (resource -> units) plus overhead, one pod, and one sandbox if the class makes one."""
    total: defaultdict[str, int] = defaultdict(int)
    total.update({resource: plus(amount, 0) for resource, amount in requests.items()})
    total[PODS] = 1
    if runtime_class is not None:
        total["cpu"] = plus(total["cpu"], runtime_class.overhead_cpu_milli)
        total["memory"] = plus(total["memory"], runtime_class.overhead_memory_mib)
        total[SANDBOXES] = int(runtime_class.sandboxed)
    return tuple(sorted((resource, amount) for resource, amount in total.items() if amount))
