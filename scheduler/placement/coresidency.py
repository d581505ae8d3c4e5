"""What the occupancies of a cluster answer to one tenant's pods: asked once per tenant, shared by all its shapes.

Built by `ClusterState` for each presence, read through `Demand`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scheduler.placement.tenancy import Occupancy, Presence, Tenancy

Int8 = NDArray[np.int8]


class Coresidency:
    """The answers as arrays indexed by occupancy, filled as occupancies appear.

    Attributes:
        reasons: int8 [occupancies], `Reason` per occupancy.
        claims: int8 [occupancies], 1 where a pod would take isolation room, see `Tenancy.claims`.
    """

    __slots__ = ("_presence", "_room", "claims", "reasons")

    def __init__(self, presence: Presence | None) -> None:
        self._presence = presence
        self._room = np.zeros((2, 64), np.int8)
        self.reasons: Int8 = self._room[0, :0]
        self.claims: Int8 = self._room[1, :0]

    def learn(self, occupancies: Sequence[Occupancy], tenancy: Tenancy) -> None:
        """Ask about the occupancies that appeared since the last call."""
        known = len(self.reasons)
        if known == len(occupancies):
            return
        if len(occupancies) > self._room.shape[1]:
            self._room = np.pad(self._room, ((0, 0), (0, len(occupancies))))
        if self._presence is not None:
            for number in range(known, len(occupancies)):
                self._room[0, number] = tenancy.coresidency(occupancies[number], self._presence)
                self._room[1, number] = tenancy.claims(occupancies[number], self._presence)
        self.reasons, self.claims = self._room[:, : len(occupancies)]
