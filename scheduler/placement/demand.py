"""A pod shape made ready for compiled code: integer request vector, and cached answers about nodes.

The answers (does this profile, this occupancy rule the shape out?) are arrays indexed by profile and occupancy id,
filled as new ids appear. Built by `ClusterState.demand`, read by `ranking` and `cycle`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.model import PODS, Amounts, Reason, Shape
from scheduler.placement.arrivals import arrival_of
from scheduler.placement.constraints import Profile, profile_reason, selection_reason
from scheduler.placement.coresidency import Coresidency
from scheduler.placement.tenancy import Admission, Occupancy, Tenancy

Int64 = NDArray[np.int64]
Int8 = NDArray[np.int8]


UNKNOWN = ""
"""The column of every resource that no node has; its capacity is 0 everywhere."""
TOO_MUCH = 1 << 52
"""Where requests saturate: beyond what any node has or leaves unstated; a thousand of them add up without wrapping."""


class Question(NamedTuple):
    """A demand as compiled code reads it.

    Attributes:
        request: int64 [resources].
        gpu: int64 [2], devices and milli of each.
        profile_reasons: int8 [profiles], `Reason` per profile.
        occupancy_reasons: int8 [occupancies], `Reason` per occupancy.
        claims: int8 [occupancies], 1 where the pod would take isolation room, see `Tenancy.claims`.
    """

    request: Int64
    gpu: Int64
    profile_reasons: Int8
    occupancy_reasons: Int8
    claims: Int8


class Demand:
    """One shape, admitted; `number` is its dense id within the state."""

    __slots__ = ("_coresidency", "admission", "arrival", "count", "milli", "number", "question", "shape")

    def __init__(
        self,
        number: int,
        shape: Shape,
        admission: Admission,
        coresidency: Coresidency,
        columns: dict[str, int],
    ) -> None:
        self._coresidency = coresidency
        self.number = number
        self.shape = shape
        self.arrival = arrival_of(shape)
        self.admission = admission
        self.count = shape.gpu.count if shape.gpu else 0
        self.milli = shape.gpu.milli if shape.gpu else 0
        request = request_vector(shape.requests, admission.overhead, columns)
        none, gpu = np.zeros(0, np.int8), np.array((self.count, self.milli), np.int64)
        self.question = Question(request, gpu, none, none, none)

    @property
    def request(self) -> Int64:
        """What the pod takes per resource column, runtime overhead and pod slot included."""
        return self.question.request

    def learn(
        self, profiles: Sequence[Profile], occupancies: Sequence[Occupancy], tenancy: Tenancy
    ) -> Question:
        """Answer for the profiles and occupancies that appeared since the last call."""
        question, known = self.question, len(self.question.profile_reasons)
        if known < len(profiles):
            new = [self._profile_reason(profile) for profile in profiles[known:]]
            reasons = np.concatenate([question.profile_reasons, np.array(new, np.int8)])
            question = question._replace(profile_reasons=reasons)
        if len(question.occupancy_reasons) < len(occupancies):
            self._coresidency.learn(occupancies, tenancy)
            question = question._replace(
                occupancy_reasons=self._coresidency.reasons, claims=self._coresidency.claims
            )
        self.question = question
        return question

    @property
    def sandboxed(self) -> bool:
        """Whether the pod gets a kernel of its own."""
        return self.admission.presence is not None and self.admission.presence.sandboxed

    def selects(self, profile: Profile) -> bool:
        """Whether the shape chooses such nodes, whatever keeps it away from them."""
        return selection_reason(profile, self.shape, self.sandboxed) == Reason.FITS

    def _profile_reason(self, profile: Profile) -> Reason:
        return profile_reason(profile, self.shape, self.sandboxed)


def request_vector(requests: Amounts, overhead: Amounts, columns: dict[str, int]) -> Int64:
    """Sum requests, runtime overhead and the pod slot per column; what no node has counts in the last one.

    Saturates: a sum that wraps to a negative request would fit everywhere.
    """
    vector = np.zeros(len(columns), np.int64)
    vector[columns[PODS]] = 1
    for name, value in requests + overhead:
        column = columns.get(name, columns[UNKNOWN])
        vector[column] = min(int(vector[column]) + value, TOO_MUCH)
    return vector
