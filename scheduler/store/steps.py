"""Every step of a `Store` as a decision on the ledger, for implementations that know how to make one atomic.

A decision may be taken several times before it counts (another was faster, the answer of a server was lost), so each
takes its arguments once and asks the ledger for everything else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Mapping

from scheduler.store.protocol import Answer, Guard
from tenants.ledger import drift
from tenants.ledger.answer import Admitted, Refused
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge
from tenants.ledger.drift import GRACE_S, Drift
from tenants.ledger.forest import Quotas
from tenants.ledger.reclaim import Eviction, claim, victims


class Steps(ABC):
    """The methods of `Store` that change something. Forgets nothing, unless an implementation says otherwise."""

    losses: int = 0

    @property
    def cautions(self) -> tuple[str, ...]:
        """See `Store.cautions`."""
        return ()

    @abstractmethod
    def _step(self, decide: Callable[[Ledger], Answer]) -> Answer:
        """Let `decide` change the ledger as of now, and keep what it did: all of it, or nothing when this raises."""

    def configure(self, quotas: Quotas) -> None:
        """See `Store.configure`; a tree equal to the present one is no change."""

        def decide(ledger: Ledger) -> None:
            if quotas != ledger.quotas:
                ledger.configure(quotas)

        self._step(decide)

    def admit(self, charge: Charge) -> Admitted | Refused:
        """See `Store.admit`."""
        return self._step(lambda ledger: ledger.admit(charge))

    def admit_all(self, charges: Iterable[Charge]) -> list[Admitted | Refused]:
        """See `Store.admit_all`."""
        asked = list(charges)
        return self._step(lambda ledger: [ledger.admit(charge) for charge in asked])

    def reserve(
        self, charges: Iterable[Charge], deadline_s: float, now_s: float, guard: Guard | None = None
    ) -> list[Admitted | Refused]:
        """See `Store.reserve`."""
        asked = list(charges)

        def decide(ledger: Ledger) -> list[Admitted | Refused]:
            return [
                (guard(ledger, charge) if guard else None) or ledger.reserve(charge, now_s, deadline_s)
                for charge in asked
            ]

        return self._step(decide)

    def confirm(self, uid: str) -> bool:
        """See `Store.confirm`."""
        return self._step(lambda ledger: ledger.confirm(uid))

    def confirm_all(self, uids: Iterable[str]) -> list[bool]:
        """See `Store.confirm_all`."""
        asked = list(uids)
        return self._step(lambda ledger: [ledger.confirm(uid) for uid in asked])

    def expire(
        self, now_s: float, bound: Callable[[str], bool] | Container[str], young: Container[str] = ()
    ) -> list[str]:
        """See `Store.expire`."""
        known = bound if callable(bound) else bound.__contains__
        return self._step(lambda ledger: drift.expire(ledger, now_s, known, young))

    def reconcile(
        self,
        bound: Mapping[str, Charge],
        now_s: float,
        *,
        grace_s: float = GRACE_S,
        waiting: Container[str] | None = None,
        young: Container[str] = (),
    ) -> Drift:
        """See `Store.reconcile`."""
        return self._step(lambda ledger: drift.reconcile(ledger, bound, now_s, grace_s, waiting, young))

    def record(self, charges: Iterable[Charge]) -> None:
        """See `Store.record`."""
        found = list(charges)

        def decide(ledger: Ledger) -> None:
            for charge in found:
                ledger.record(charge)

        self._step(decide)

    def terminate(self, uid: str) -> bool:
        """See `Store.terminate`."""
        return self._step(lambda ledger: ledger.terminate(uid))

    def release(self, uid: str) -> bool:
        """See `Store.release`."""
        return self._step(lambda ledger: ledger.release(uid))

    def release_all(self, uids: Iterable[str]) -> list[bool]:
        """See `Store.release_all`."""
        asked = list(uids)
        return self._step(lambda ledger: [ledger.release(uid) for uid in asked])

    def reclaim(self, charge: Charge) -> Eviction | Refused:
        """See `Store.reclaim`."""

        def decide(ledger: Ledger) -> Eviction | Refused:
            answer = victims(ledger, charge)
            if isinstance(answer, Eviction):
                claim(ledger, charge, answer)
            return answer

        return self._step(decide)

    def claim(self, charge: Charge, victims: Iterable[str]) -> None:
        """See `Store.claim`."""
        uids = list(victims)

        def decide(ledger: Ledger) -> None:
            known = [ledger.entries[uid].charge for uid in uids if uid in ledger.entries]
            claim(ledger, charge, Eviction(tuple(known)))

        self._step(decide)
