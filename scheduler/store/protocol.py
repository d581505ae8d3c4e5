"""What the scheduler asks of whatever keeps the ledger, embedded or shared over a network.

Every method is one atomic step that all threads, processes and replicas see alike: of two that admit at once, one is
checked against what the other took. A step that was answered survives the death of whoever asked; one that raised or
was cut off happened wholly or not at all, and may be repeated, because everything is keyed by pod UID.
Time comes in as wall-clock seconds; no method reads a clock, and no deadline acts before `expire` or `reconcile`.
`tenants.ledger` decides in all of them: a store adds nothing but atomicity and memory.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Protocol, TypeVar

from scheduler.errors import SchedulerError
from tenants.ledger.answer import Admitted, Refused
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge
from tenants.ledger.drift import GRACE_S, Drift
from tenants.ledger.forest import Quotas
from tenants.ledger.reclaim import Eviction

Answer = TypeVar("Answer")
Guard = Callable[[Ledger, Charge], Refused | None]
"""Whether a charge may stand on its node beside those that the ledger shows there; must not change the ledger."""


class StoreUnavailable(SchedulerError):
    """The store cannot be opened, read or written now. What was asked happened wholly or not at all: ask again.

    Not at all on SQLite; over a network the answer may have been lost, so it is not known.
    """

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"ledger store {place}: {why}")
        self.place, self.why = place, why


class Store(Protocol):
    """A ledger that several parties share. Every method raises StoreUnavailable where the store cannot be reached."""

    @property
    def losses(self) -> int:
        """How often it was found to have forgotten what it answered; `configure` and `reconcile` when it grows."""
        ...

    @property
    def cautions(self) -> tuple[str, ...]:
        """What of its configuration may make it forget, in words for a log at the start."""
        ...

    def configure(self, quotas: Quotas) -> None:
        """Make `quotas` the tree that every party decides by from now on."""
        ...

    def admit(self, charge: Charge) -> Admitted | Refused:
        """Check and reserve; see `Ledger.admit`."""
        ...

    def admit_all(self, charges: Iterable[Charge]) -> list[Admitted | Refused]:
        """The same one after the other in a single step: many pods for the price of one."""
        ...

    def reserve(
        self, charges: Iterable[Charge], deadline_s: float, now_s: float, guard: Guard | None = None
    ) -> list[Admitted | Refused]:
        """`admit_all` for pods on their way to a node: each ends at `deadline_s` unless `confirm` comes before.

        Repeated, the deadline moves; a pod that is held already stays so. See `Ledger.reserve`. `guard` is asked of
        each within the same step, after those before it: what it refuses takes nothing.
        """
        ...

    def confirm(self, uid: str) -> bool:
        """Hold what was reserved; True as often as asked. False: it expired or never was, so `admit` the charge."""
        ...

    def confirm_all(self, uids: Iterable[str]) -> list[bool]:
        """The same one after the other in a single step."""
        ...

    def expire(
        self, now_s: float, bound: Callable[[str], bool] | Container[str], young: Container[str] = ()
    ) -> list[str]:
        """Drop the reservations that are overdue, not `young` and not of a pod known to be bound; answers which."""
        ...

    def reconcile(
        self,
        bound: Mapping[str, Charge],
        now_s: float,
        *,
        grace_s: float = GRACE_S,
        waiting: Container[str] | None = None,
        young: Container[str] = (),
    ) -> Drift:
        """Make the ledger equal to the pods that are bound, and say what was wrong; see `drift.reconcile`."""
        ...

    def record(self, charges: Iterable[Charge]) -> None:
        """Write down pods that were found running, whatever the quota."""
        ...

    def terminate(self, uid: str) -> bool:
        """The pod is going; it holds its quota until `release`. False for an unknown pod."""
        ...

    def release(self, uid: str) -> bool:
        """The pod is gone, or will not be bound after all. False for an unknown pod."""
        ...

    def release_all(self, uids: Iterable[str]) -> list[bool]:
        """The same for many in a single step."""
        ...

    def reclaim(self, charge: Charge) -> Eviction | Refused:
        """Choose victims, mark them as leaving, and keep what they free for `charge`: no victim is chosen twice."""
        ...

    def claim(self, charge: Charge, victims: Iterable[str]) -> None:
        """Mark these pods as leaving, and keep what they free for `charge`: a plan that was made elsewhere."""
        ...

    def read(self, question: Callable[[Ledger], Answer]) -> Answer:
        """Ask the ledger as of now. `question` must not change it, nor keep it (`Ledger.copy` may be the question)."""
        ...

    def close(self) -> None:
        """Let go of the store."""
        ...
