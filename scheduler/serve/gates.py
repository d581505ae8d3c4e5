"""The write that opens a gate, with the chosen node as the hint. See docs/decisions/0403 for what each way costs.

Aiming is half the price of nominating, and cannot be taken back: a pod whose affinity names one node waits for that
node for ever. So only pods that a controller makes again are aimed; one that misses is evicted by `rescuer`, and its
successor is guided anew.
"""

from __future__ import annotations

import enum
from typing import Final

from scheduler.kube.objects import Gate, Metadata, PodObject, PodSpec
from scheduler.kube.writes import Outcome, Writes
from scheduler.mirror.record import GATE, PodRecord

MADE_AGAIN: Final = frozenset({"ReplicaSet", "ReplicationController", "StatefulSet"})
"""Controllers that replace a deleted pod and count nothing against anybody, as a Job does."""


class Way(enum.StrEnum):
    """How kube-scheduler learns the node."""

    AUTO = "auto"  # aim what is made again, nominate everything else
    AIM = "aim"  # one write: the gate goes, and the pod may stand on that node only
    NOMINATE = "nominate"  # status.nominatedNodeName, then the gate: two writes; a hint that fails is dropped


class ApiGates:
    """Opens gates at the API server.

    Args:
        writes: to the API server.
        way: how kube-scheduler learns the node.
        tracked: keep the managed fields of pods that a controller made; nobody applies those, and each later write to
            the pod costs the API server half as much without.
    """

    def __init__(self, writes: Writes, way: Way, *, tracked: bool = False) -> None:
        self._writes, self._way, self._tracked = writes, way, tracked

    def aims(self, record: PodRecord) -> bool:
        """Whether this pod is aimed."""
        return self._way is Way.AIM or (self._way is Way.AUTO and record.owner in MADE_AGAIN)

    async def open(self, record: PodRecord, node: str) -> str:
        """See `guide.Gates`."""
        pod = pod_of(record)
        candidates = (node,) if self.aims(record) else ()
        if not candidates:
            written = await self._writes.nominate(pod, node)
            if not written.ok:
                return f"{written.outcome}: {written.message}"
        untracked = bool(record.owner) and not self._tracked
        written = await self._writes.open_gate(pod, GATE, candidates, untracked=untracked)
        return (
            "" if written.ok or written.outcome is Outcome.GONE else f"{written.outcome}: {written.message}"
        )


def pod_of(record: PodRecord) -> PodObject:
    """As much of the pod as a write needs."""
    meta = Metadata(name=record.name, namespace=record.namespace, uid=record.uid)
    return PodObject(meta, PodSpec(affinity=record.affinity, scheduling_gates=(Gate(GATE),)), raw=record.raw)
