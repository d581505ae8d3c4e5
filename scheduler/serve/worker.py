"""The store's one thread: its steps wait for a disk or a network, and the event loop must not.

Charges that are asked for while a step is under way go together in the next one, so the price of a step is shared
by all that arrived meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from scheduler.store.protocol import Guard, Store, StoreUnavailable
from tenants.ledger.answer import Admitted, Refused
from tenants.ledger.charge import Charge

Answer = TypeVar("Answer")
Verdict = Admitted | Refused | StoreUnavailable
RESERVATION_S: Final = 120.0
"""Unless somebody says otherwise; kube-scheduler's longest back-off is 10 s."""


class StoreThread:
    """Runs steps one after the other off the event loop.

    Args:
        store: whatever keeps the ledger; this thread alone uses it.
        wall: wall-clock seconds, for deadlines that others read.
        guard: what looks at the neighbours, by the tenant files of the day.
        reservation_s: how long quota waits for a pod on its way to a node.
    """

    def __init__(
        self, store: Store, wall: Callable[[], float], guard: Callable[[], Guard],
        reservation_s: float = RESERVATION_S,
    ) -> None:  # fmt: skip
        self._store, self.reservation_s = store, reservation_s
        self._wall, self._guard = wall, guard
        self._thread = ThreadPoolExecutor(1, "store")
        self._asked: list[tuple[Charge, asyncio.Future[Verdict]]] = []
        self._reserving: asyncio.Task[None] | None = None

    @property
    def losses(self) -> int:
        """How often the store came back with less than it had answered."""
        return self._store.losses

    @property
    def cautions(self) -> tuple[str, ...]:
        """What the store's operator should know."""
        return self._store.cautions

    async def step(self, step: Callable[[Store], Answer]) -> Answer:
        """Run one step; raises StoreUnavailable as the store does."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, step, self._store)

    async def reserve(self, charges: list[Charge]) -> list[Verdict]:
        """Check and reserve; what cannot be asked is answered with StoreUnavailable, never taken for granted."""
        loop = asyncio.get_running_loop()
        waiting: list[asyncio.Future[Verdict]] = [loop.create_future() for _ in charges]
        self._asked += zip(charges, waiting, strict=True)
        if self._reserving is None or self._reserving.done():
            self._reserving = asyncio.create_task(self._reserve_all())
        return [await verdict for verdict in waiting]

    async def _reserve_all(self) -> None:
        while self._asked:
            await self._reserve_asked()

    async def _reserve_asked(self) -> None:
        asked, self._asked = self._asked, []
        now = self._wall()
        charges, guard = [charge for charge, _ in asked], self._guard()
        verdicts: list[Verdict]
        try:
            verdicts = list(
                await self.step(lambda store: store.reserve(charges, now + self.reservation_s, now, guard))
            )
        except StoreUnavailable as error:
            verdicts = [error] * len(asked)
        for (_, future), verdict in zip(asked, verdicts, strict=True):
            if not future.done():
                future.set_result(verdict)

    async def close(self) -> None:
        """Let the last step end, then let go of the store."""
        await self.step(lambda store: store.close())
        self._thread.shutdown()
