"""What the watch showed and the shared store must still learn. Pure."""

from __future__ import annotations

from typing import NamedTuple

from tenants.ledger.charge import Charge


class Effects(NamedTuple):
    """What the watch showed and the store does not know yet."""

    record: dict[str, Charge]
    terminate: set[str]
    release: set[str]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.record or self.terminate or self.release)

    def recorded(self, charge: Charge) -> None:
        """A pod stands with this charge."""
        self.record[charge.uid] = charge
        self.release.discard(charge.uid)

    def terminated(self, uid: str) -> None:
        """A pod that stands is being deleted."""
        self.terminate.add(uid)

    def released(self, uid: str) -> None:
        """A pod is gone; nothing else is left to say of it."""
        self.release.add(uid)
        self.record.pop(uid, None)
        self.terminate.discard(uid)


def nothing() -> Effects:
    """Nothing to tell, to begin with."""
    return Effects({}, set(), set())
