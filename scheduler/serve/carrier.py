"""Carries to the store what the watch showed, and drops what is overdue; every so often compares the two whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Set
from typing import Final, TypeVar

import structlog

from scheduler.mirror.effects import Effects
from scheduler.mirror.mirror import Mirror
from scheduler.mirror.record import Stage
from scheduler.serve.fence import Fence
from scheduler.serve.guide import Guide
from scheduler.serve.witness import Witness
from scheduler.serve.worker import StoreThread
from scheduler.store.protocol import Store, StoreUnavailable
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Phase
from tenants.ledger.drift import GRACE_S, Drift

CARRY_S: Final = 0.05
EXPIRE_S: Final = 5.0
RECONCILE_S: Final = 60.0
SECOND_LOOK_S: Final = GRACE_S + 1.0
"""After a start or an outage: what the first comparison doubted is released as soon as it may be."""

Answer = TypeVar("Answer")

logger = structlog.get_logger("ledger")


class Carrier:
    """Keeps the shared ledger equal to the cluster.

    Attributes:
        drift: what the last whole comparison put right.
        failure: why the store could not be reached last time, or empty.
    """

    def __init__(
        self, mirror: Mirror, guide: Guide, store: StoreThread,
        *, witness: Witness, fence: Fence, listed: Callable[[], bool],
        clock: Callable[[], float], wall: Callable[[], float],
    ) -> None:  # fmt: skip
        self._mirror, self._guide, self._store, self._wall = mirror, guide, store, wall
        self._witness, self._fence, self._listed, self._clock = witness, fence, listed, clock
        self.compared = False
        self.drift = Drift()
        self.drifted = 0
        self.failure = ""
        self._compare_at = self._expire_at = self._compared_at = 0.0
        self._losses = 0
        self._watched: dict[tuple[str, float], float] = {}  # (uid, made) of each reservation -> known since
        self._missed: dict[str, float] = {}  # uid of each entry whose pod is not seen -> missed since

    def unready(self) -> str:
        """Empty once the ledger has been compared with the cluster, and while the store answers."""
        if self.failure:
            return f"the store fails: {self.failure}"
        return "" if self.compared else "the ledger is not compared with the cluster yet"

    async def run(self) -> None:
        """Carry for ever; what could not be carried is compared whole once the store is back.

        Nothing is carried before everything is listed: to a half-known cluster most of the ledger would look stray.
        """
        while True:
            await asyncio.sleep(CARRY_S)
            if not self._listed():
                continue
            try:
                await self._carry()
                self.failure = ""
            except StoreUnavailable as error:
                if not self.failure:
                    logger.warning("store unavailable", why=str(error))
                self.failure = str(error)
                self.compare_soon()

    async def _carry(self) -> None:
        if self._clock() >= self._compare_at:
            await self.reconcile()
        elif self._store.losses != self._losses:
            logger.error("the store came back with less than it had answered; compared anew")
            self.compare_soon()
        elif self._mirror.requota():
            quotas = self._mirror.ledger.quotas
            await self._store.step(lambda store: store.configure(quotas))
        told = self._mirror.drain()
        if not told.empty:
            await self._telling(told, lambda store: _tell(store, told))
        if self._clock() >= self._expire_at:
            self._expire_at = self._clock() + EXPIRE_S
            await self._expire()
            await self._look_again()

    def compare_soon(self) -> None:
        """Compare the whole with the next turn: the rules are others, and until then nobody may be admitted."""
        self._compare_at, self.compared = 0.0, False

    async def reconcile(self) -> Drift:
        """Make the quota tree and every entry what the cluster says; the pods themselves always win."""
        self._mirror.requota()
        self._mirror.tidy()
        staying = await self._not_to_end()
        told = self._mirror.drain()
        quotas, now = self._mirror.ledger.quotas, self._wall()
        standing = {Stage.BOUND, Stage.LEAVING}
        pods, proven = list(self._mirror.pods.values()), self._fence.complete_to
        bound = {pod.uid: pod.charge for pod in pods if pod.tenant and pod.stage in standing}
        waiting = {pod.uid for pod in pods if pod.stage not in standing}
        staying |= await self._unproven(bound.keys(), waiting, proven)

        def step(store: Store) -> Drift:
            store.configure(quotas)
            store.release_all(told.release)
            return store.reconcile(bound, now, waiting=waiting, young=staying)

        self.drift = await self._telling(told, step)
        self._compared_at = self._clock()
        self._compare_at = self._compared_at + (RECONCILE_S if self.compared else SECOND_LOOK_S)
        self.compared, self._losses = True, self._store.losses
        self._guide.wake()
        self.drifted += len(self.drift.missing) + len(self.drift.stray) + len(self.drift.different)
        if self.drift:
            logger.warning(
                "ledger drift", missing=len(self.drift.missing), stray=len(self.drift.stray),
                different=len(self.drift.different),
            )  # fmt: skip
        return self.drift

    async def _unproven(self, bound: Set[str], waiting: Set[str], proven: float) -> set[str]:
        """Entries whose pod was not shown up to `proven`, but perhaps since: others may have bound it."""
        missing = await self._store.step(
            lambda store: store.read(lambda ledger: strays(ledger, bound, waiting))
        )
        now = self._clock()
        self._missed = {uid: self._missed.get(uid, now) for uid in missing}
        return {uid for uid, since in self._missed.items() if since >= proven}

    async def _look_again(self) -> None:
        """Bring the next comparison forward, once the watch has shown all that the last one was not sure of."""
        doubted = max(self._missed.values(), default=None)
        if doubted is None or doubted < self._fence.complete_to:
            return
        if doubted < await self._fence.advance():
            self._compare_at = min(self._compare_at, self._compared_at + SECOND_LOOK_S)

    async def _telling(self, told: Effects, step: Callable[[Store], Answer]) -> Answer:
        """Run a step that tells the store; what it did not hear is kept."""
        try:
            return await self._store.step(step)
        except StoreUnavailable:
            self._mirror.untold(told)
            raise

    async def _expire(self) -> None:
        staying = await self._not_to_end()
        self._guide.sweep(staying)
        now = self._wall()
        await self._store.step(lambda store: store.expire(now, self._is_bound, staying))

    async def _not_to_end(self) -> set[str]:
        """Reservations that stay whatever their deadline says.

        Those that this replica has not known for a whole term, since its clock may be ahead of who made them; and those
        of pods that may be bound though the watch has not shown it.
        """
        made = await self._store.step(lambda store: store.read(reservations))
        now, term = self._clock(), self._store.reservation_s
        self._watched = {one: self._watched.get(one, now) for one in made}
        ends = {uid: since + term for (uid, _), since in self._watched.items()}
        young = {uid for uid, end in ends.items() if now < end}
        overdue = (ends.keys() - young) | set(self._guide.overdue())
        return young | await self._perhaps_bound(overdue, {uid: ends.get(uid, now) for uid in overdue})

    async def _perhaps_bound(self, overdue: set[str], ends: Mapping[str, float]) -> set[str]:
        """Of the overdue: whose pod is unknown here and may be new, and whose pod nobody can tell of."""
        pods = self._mirror.pods
        unknown = {uid for uid in overdue - pods.keys() if self._fence.complete_to < ends[uid]}
        if unknown:
            await self._fence.advance()
        waiting = [pods[uid] for uid in overdue & pods.keys() if not self._is_bound(uid)]
        return unknown | await self._witness.doubtful(waiting)

    def _is_bound(self, uid: str) -> bool:
        record = self._mirror.pods.get(uid)
        return record is not None and record.stage in {Stage.BOUND, Stage.LEAVING}


def reservations(ledger: Ledger) -> list[tuple[str, float]]:
    """UID and time of making of each; one that was renewed is another one."""
    return [(uid, ledger.entries[uid].made_s) for uid in ledger.reserved]


def strays(ledger: Ledger, bound: Set[str], waiting: Set[str]) -> list[str]:
    """UIDs of what is held for pods that are not `bound`, and of the claims of pods that do not wait."""
    return [
        uid
        for uid in ledger.entries.keys() - bound
        if (phase := ledger.entries[uid].phase) is not Phase.RESERVED
        and not (phase is Phase.CLAIMED and uid in waiting)
    ]


def _tell(store: Store, told: Effects) -> None:
    if told.record:
        store.record(told.record.values())
    for uid in told.terminate:
        store.terminate(uid)
    if told.release:
        store.release_all(told.release)
