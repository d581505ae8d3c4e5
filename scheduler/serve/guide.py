"""From a gated pod to an open gate: decide over all nodes, reserve, tell kube-scheduler where. READ THIS FIRST.

Whatever changes wakes the loop; some milliseconds later it takes everything that has changed as one round. Only the
replica that leads guides; binding is guarded by the store wherever it happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from scheduler.kube.errors import ApiUnavailable
from scheduler.mirror.mirror import Mirror
from scheduler.mirror.record import PodRecord, Stage
from scheduler.model import Placed
from scheduler.queueing.queue import Group, Guided, Queue, Waiting
from scheduler.serve.story import Stories
from scheduler.serve.worker import RESERVATION_S, StoreThread
from tenants.ledger.answer import Admitted

ROUND: Final = 256
"""Pods guided in one round: small enough that filter and bind calls do not wait behind it."""
IN_FLIGHT: Final = 1024
"""Pods that are guided and not bound: more would only wait in kube-scheduler's queue, where order is lost."""
SETTLE_S: Final = 0.005
"""What arrives within this time is decided together."""

logger = structlog.get_logger("guide")


class Gates(Protocol):
    """Opens the gate of a pod with the chosen node as the hint."""

    async def open(self, record: PodRecord, node: str) -> str:
        """Empty when the gate is open, else why the API server refused.

        Raises:
            ApiUnavailable: nobody knows whether it is open.
        """
        ...


class Guide:
    """The loop over rounds.

    Args:
        leads: whether this replica may guide now.
        clock: monotonic seconds.
        wall: wall-clock seconds, for stories.
    """

    def __init__(
        self, mirror: Mirror, queue: Queue, store: StoreThread, gates: Gates, stories: Stories,
        *, leads: Callable[[], bool], clock: Callable[[], float], wall: Callable[[], float],
    ) -> None:  # fmt: skip
        self._mirror, self._queue, self._store, self._gates, self._stories = (
            mirror,
            queue,
            store,
            gates,
            stories,
        )
        self._leads, self._clock, self._wall = leads, clock, wall
        self._awake = asyncio.Event()
        self._opening: set[asyncio.Task[None]] = set()
        self.in_flight: dict[str, float] = {}  # uid -> when it was guided
        self.rounds = 0

    # --- what the watch tells -------------------------------------------------------------------------------

    def seen(self, record: PodRecord) -> None:
        """A pod is new or has changed."""
        if record.stage is Stage.GATED and record.tenant:
            self._queue.add(waiting_of(record, self._clock()))
        else:
            self._queue.discard(record.uid)
        if record.stage is not Stage.ASSUMED:
            self.in_flight.pop(record.uid, None)
        self.wake()

    def gone(self, uid: str) -> None:
        """A pod has ended or was removed."""
        self._queue.discard(uid)
        self.in_flight.pop(uid, None)
        self._stories.forget(uid)
        self.wake()

    def wake(self) -> None:
        """Something has changed: there may be room, quota or work."""
        self._awake.set()

    # --- the loop -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Decide for as long as there is something to decide."""
        while True:
            await self._awake.wait()
            await asyncio.sleep(SETTLE_S)
            self._awake.clear()
            if self._leads():
                await self._round()

    async def _round(self) -> None:
        # 1. Decide: everything below is one moment in time, nothing else runs meanwhile.
        limit = min(ROUND, IN_FLIGHT - len(self.in_flight))
        if limit <= 0:
            return
        now = self._clock()
        outcomes = self._queue.round(self._mirror.ledger, self._place, self._unplace, now, limit)
        self.rounds += 1
        guided = [outcome for outcome in outcomes if isinstance(outcome, Guided)]
        for outcome in outcomes:
            if not isinstance(outcome, Guided):
                self._stories.add(outcome.waiting.uid, outcome.code, outcome.detail, self._wall())
        for outcome in guided:
            self._mirror.ledger.record(outcome.waiting.charge)
            self.in_flight[outcome.waiting.uid] = now
        if len(guided) == limit:
            self.wake()
        # 2. Reserve: the store has the last word, for it knows what other replicas took.
        verdicts = await self._store.reserve([outcome.waiting.charge for outcome in guided])
        for outcome, verdict in zip(guided, verdicts, strict=True):
            if isinstance(verdict, Admitted):
                self._open(outcome)
            else:
                self._give_back(outcome.waiting, "QuotaTakenElsewhere", str(verdict))

    def _place(self, waiting: Waiting) -> object:
        return self._mirror.place(waiting.uid)

    def _unplace(self, uid: str) -> None:
        self._mirror.forget(uid)

    # 3. Tell: one write per pod, many at once.
    def _open(self, outcome: Guided) -> None:
        task = asyncio.create_task(self._open_gate(outcome.waiting, outcome.placed))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open_gate(self, waiting: Waiting, placed: Placed) -> None:
        record = self._mirror.pods.get(waiting.uid)
        if record is None:
            return  # deleted meanwhile: the watch has given back what it held
        try:
            refusal = await self._gates.open(record, placed.node)
        except ApiUnavailable as error:
            refusal = str(error)
        if refusal:
            self._give_back(waiting, "GateNotOpened", refusal)
            await self._release(waiting.uid)
            return
        decision = self._stories.add(waiting.uid, "Guided", f"node {placed.node}", self._wall(), placed.node)
        logger.info("guided", pod=waiting.key, uid=waiting.uid, node=placed.node, decision=decision.id)

    def _give_back(self, waiting: Waiting, code: str, detail: str) -> None:
        """The pod waits again, with the place in the queue that its arrival gives it."""
        self.in_flight.pop(waiting.uid, None)
        record = self._mirror.pods.get(waiting.uid)
        if record is None or record.stage is not Stage.ASSUMED:
            return
        self._mirror.forget(waiting.uid)
        self._queue.add(waiting)
        self._stories.add(waiting.uid, code, detail, self._wall())
        self.wake()

    async def _release(self, uid: str) -> None:
        await self._store.step(lambda store: store.release(uid))

    # --- what never arrived ---------------------------------------------------------------------------------

    def sweep(self) -> list[str]:
        """Pods that were guided and never bound in time: their room is free again, the classic path takes them on."""
        overdue = [uid for uid, since in self.in_flight.items() if self._clock() - since > RESERVATION_S]
        for uid in overdue:
            del self.in_flight[uid]
            self._mirror.forget(uid, Stage.PENDING)
            self._stories.add(uid, "GuidanceExpired", "kube-scheduler did not bind it in time", self._wall())
        if overdue:
            self.wake()
        return overdue


def waiting_of(record: PodRecord, now: float) -> Waiting:
    """A pod as the queue sees it; groups are kept apart by namespace, for a label is only a name."""
    group = Group(f"{record.namespace}/{record.group}", record.group_size) if record.group else None
    return Waiting(
        uid=record.uid,
        key=record.key,
        tenant=record.tenant,
        shape=record.shape,
        charge=record.charge,
        priority=record.priority,
        arrived=now,
        group=group,
    )
