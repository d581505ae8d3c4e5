"""The write that opens a gate, with the chosen node as the hint. See docs/decisions/0403 for what each way costs."""

from __future__ import annotations

import enum

from scheduler.kube.objects import Gate, Metadata, PodObject, PodSpec
from scheduler.kube.writes import Outcome, Writes
from scheduler.mirror.record import GATE, PodRecord


class Way(enum.StrEnum):
    """How kube-scheduler learns the node."""

    NOMINATE = "nominate"  # status.nominatedNodeName, then the gate: two writes; a hint that fails is dropped
    AIM = "aim"  # one write: the gate goes, and the pod may stand on that node only


class ApiGates:
    """Opens gates at the API server."""

    def __init__(self, writes: Writes, way: Way) -> None:
        self._writes, self._way = writes, way

    async def open(self, record: PodRecord, node: str) -> str:
        """See `guide.Gates`."""
        pod = pod_of(record)
        if self._way is Way.NOMINATE:
            written = await self._writes.nominate(pod, node)
            if not written.ok:
                return f"{written.outcome}: {written.message}"
        candidates = (node,) if self._way is Way.AIM else ()
        written = await self._writes.open_gate(pod, GATE, candidates)
        return (
            "" if written.ok or written.outcome is Outcome.GONE else f"{written.outcome}: {written.message}"
        )


def pod_of(record: PodRecord) -> PodObject:
    """As much of the pod as a write needs."""
    meta = Metadata(name=record.name, namespace=record.namespace, uid=record.uid)
    return PodObject(meta, PodSpec(affinity=record.affinity, scheduling_gates=(Gate(GATE),)))
