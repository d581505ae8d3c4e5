"""From a gated pod to an open gate: decide over all nodes, reserve, tell kube-scheduler where. READ THIS FIRST.

Whatever changes wakes the loop; some milliseconds later it takes everything that has changed as one round. Only the
replica that leads guides; binding is guarded by the store wherever it happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from math import inf
from typing import Final, Protocol

import structlog

from scheduler.kube.errors import ApiUnavailable
from scheduler.mirror.mirror import Mirror
from scheduler.mirror.record import PodRecord, Stage
from scheduler.queueing.queue import Queue
from scheduler.queueing.waiting import Group, Guided, Waiting
from scheduler.serve.room import MirrorRoom
from scheduler.serve.story import Stories
from scheduler.serve.worker import StoreThread
from scheduler.store.protocol import StoreUnavailable
from tenants.ledger.answer import Admitted

ROUND: Final = 64
"""Pods guided in one round: small enough that filter and bind calls do not wait behind it."""
IN_FLIGHT: Final = 64
"""Pods that are guided and not bound. More would only wait: in kube-scheduler, where order is lost, or in bind calls
that pass its `httpTimeout` while the API server works off what was let through."""
SETTLE_S: Final = 0.005
"""What arrives within this time is decided together."""
FRESH: Final = 0.5
"""A reservation of which less than this share has passed is still ours: nobody drops it before its deadline."""
AGAIN_S: Final = 1.0
"""A round at least this often: patience runs out and leases begin without any event."""

logger = structlog.get_logger("guide")


class Gates(Protocol):
    """Opens the gate of a pod with the chosen node as the hint."""

    async def open(self, record: PodRecord, node: str) -> str:
        """Empty when the gate is open, else why the API server refused; raises ApiUnavailable when nobody knows."""
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
        self._mirror, self._queue, self._store = mirror, queue, store
        self._gates, self._stories = gates, stories
        self._leads, self._clock, self._wall = leads, clock, wall
        self._room = MirrorRoom(mirror)
        self._awake = asyncio.Event()
        self._opening: set[asyncio.Task[None]] = set()
        self.in_flight: dict[str, float] = {}  # uid -> when it was guided
        self._held: dict[str, tuple[float, float]] = {}  # uid -> when the store said yes, by both clocks
        self.on_round: Callable[[float], None] = lambda _seconds: None

    # --- what the watch tells -------------------------------------------------------------------------------

    def seen(self, record: PodRecord) -> None:
        """A pod is new or has changed."""
        if record.stage is not Stage.ASSUMED:
            self.landed(record.uid)
        if record.tenant:
            self._line_up(record)
            self.wake()

    def _line_up(self, record: PodRecord) -> None:
        if record.stage is Stage.GATED:
            self._queue.add(self.waiting(record))
        elif record.group and record.uid not in self.in_flight:
            self._queue.settled(self.waiting(record))
        elif record.uid in self._queue:
            self._queue.discard(record.uid)

    def gone(self, uid: str) -> None:
        """A pod has ended or was removed."""
        self._queue.discard(uid)
        self.landed(uid)
        self._stories.forget(uid)
        self.wake()

    def wake(self) -> None:
        """Something has changed: there may be room, quota or work."""
        self._awake.set()

    def waiting(self, record: PodRecord) -> Waiting:
        """A pod as the queue sees it; who was there before this process keeps its age by its creation time."""
        age = max(0.0, self._wall() - record.born) if record.born else 0.0
        return Waiting(
            uid=record.uid,
            key=record.key,
            tenant=record.tenant,
            shape=self._mirror.shape_in_pool(record),
            charge=record.charge,
            priority=record.priority,
            arrived=self._clock() - age,
            group=Group(record.group, record.group_size) if record.group else None,
        )

    # --- on the way -----------------------------------------------------------------------------------------

    def sets_out(self, uid: str) -> None:
        """A pod is guided, by us or by kube-scheduler's own choice; its quota is being asked for."""
        self.in_flight[uid] = self._clock()

    def holds(self, uid: str) -> None:
        """The store said yes."""
        if uid in self.in_flight:  # else it was deleted meanwhile
            self._held[uid] = self._clock(), self._wall()

    def landed(self, uid: str) -> None:
        """It is no longer on its way."""
        self.in_flight.pop(uid, None)
        self._held.pop(uid, None)

    def surely_holds(self, uid: str) -> bool:
        """Whether nobody can have dropped its reservation: it is young, and our clock was not set since."""
        steady, wall = self._held.get(uid, (-inf, 0.0))
        passed, least = self._clock() - steady, FRESH * self._store.reservation_s
        return passed < least and abs(self._wall() - wall - passed) < least / 2

    # --- the loop -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Decide for as long as there is something to decide."""
        while True:
            try:
                async with asyncio.timeout(AGAIN_S):
                    await self._awake.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(SETTLE_S)
            self._awake.clear()
            if self._leads() and len(self._queue):
                await self.round()

    async def round(self) -> None:
        """Decide once, reserve, and start the writes."""
        # 1. Decide: everything below is one moment in time, nothing else runs meanwhile.
        limit = min(ROUND, IN_FLIGHT - len(self.in_flight))
        if limit <= 0:
            return
        now = self._clock()
        outcomes = self._queue.round(self._mirror.ledger, self._room, now=now, limit=limit)
        guided = [outcome for outcome in outcomes if isinstance(outcome, Guided)]
        for outcome in outcomes:
            if not isinstance(outcome, Guided):
                self._stories.add(outcome.waiting.uid, outcome.code, outcome.detail, self._wall())
        charges = [self._mirror.settle(outcome.waiting.uid) for outcome in guided]
        self.in_flight.update((outcome.waiting.uid, now) for outcome in guided)
        self.on_round(self._clock() - now)
        if len(guided) >= limit:
            self.wake()
        if not guided:
            return
        # 2. Reserve: the store has the last word, for it knows what other replicas took.
        verdicts = await self._store.reserve(charges)
        for outcome, verdict in zip(guided, verdicts, strict=True):
            if isinstance(verdict, Admitted):
                self.holds(outcome.waiting.uid)
                self._open(outcome)
            else:
                code = "StoreUnavailable" if isinstance(verdict, StoreUnavailable) else "TakenElsewhere"
                self._give_back(outcome.waiting, code, str(verdict))

    # 3. Tell: one write per pod, many at once.
    def _open(self, outcome: Guided) -> None:
        task = asyncio.create_task(self._open_gate(outcome.waiting, outcome.placed.node))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open_gate(self, waiting: Waiting, node: str) -> None:
        record = self._mirror.pods.get(waiting.uid)
        if record is None:
            # Deleted meanwhile, and the watch may have told the store before us.
            await self._release(waiting.uid)
            return
        try:
            refusal = await self._gates.open(record, node)
        except ApiUnavailable as error:
            refusal = str(error)
        if refusal:
            self._give_back(waiting, "GateNotOpened", refusal)
            await self._release(waiting.uid)
            return
        # kube-scheduler's own event says where the pod went; ours would be one more write for every pod.
        decision = self._stories.add(waiting.uid, "Guided", f"to node {node}", self._wall(), node, news=False)
        logger.info("guided", pod=waiting.key, uid=waiting.uid, node=node, decision=decision.id)

    def _give_back(self, waiting: Waiting, code: str, detail: str) -> None:
        """The pod waits again, with the place in the queue that its arrival gives it.

        It is tried with the next event or in a second: at once, a store that says no would be asked for ever.
        """
        self.landed(waiting.uid)
        record = self._mirror.pods.get(waiting.uid)
        if record is None or record.stage is not Stage.ASSUMED:
            return
        self._mirror.forget(waiting.uid)
        self._queue.add(waiting)
        self._stories.add(waiting.uid, code, detail, self._wall())

    async def _release(self, uid: str) -> None:
        try:
            await self._store.step(lambda store: store.release(uid))
        except StoreUnavailable as error:
            logger.warning("release left to the deadline", uid=uid, why=str(error))

    # --- what never arrived ---------------------------------------------------------------------------------

    def overdue(self) -> list[str]:
        """Pods that were guided and not bound in time, as far as the watch has shown."""
        oldest = self._clock() - self._store.reservation_s
        return [uid for uid, since in self.in_flight.items() if since < oldest]

    def sweep(self, doubtful: Container[str] = ()) -> list[str]:
        """The overdue ones but the `doubtful`: their room is free again, the classic path takes them on."""
        overdue = [uid for uid in self.overdue() if uid not in doubtful]
        for uid in overdue:
            self.landed(uid)
            self._mirror.forget(uid, Stage.PENDING)
            self._stories.add(uid, "GuidanceExpired", "kube-scheduler did not bind it in time", self._wall())
        if overdue:
            self.wake()
        return overdue
