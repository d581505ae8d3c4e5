"""A replica whose watch is behind must not release what others have bound: the ledger knows more than it does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import cast

import pytest

from scheduler.kube.errors import ApiUnavailable
from scheduler.kube.watch import Refused
from scheduler.mirror.mirror import Mirror
from scheduler.mirror.record import PodRecord
from scheduler.placement.score.registry import POLICIES
from scheduler.serve.carrier import SECOND_LOOK_S, Carrier
from scheduler.serve.fence import Fence
from scheduler.serve.guide import Guide
from scheduler.serve.witness import Witness
from scheduler.serve.worker import StoreThread
from scheduler.store.opening import open_store
from tenants.ledger.charge import Charge
from tests.support.objects import node, pod
from tests.unit.scheduler.mirror.test_mirror import TENANTS


class ApiServer:
    """Has a version; whoever asks hears it or an error. `told` is how far its watch came."""

    def __init__(self) -> None:
        self.version = self.told = 7
        self.error: Exception | None = None
        self.asked = 0

    async def present(self) -> int:
        self.asked += 1
        if self.error:
            raise self.error
        return self.version


class Replica:
    """A carrier over a real store, whose ledger another replica has written to."""

    def __init__(self, directory: Path) -> None:
        self.now, self.server, self.witness = 1_000.0, ApiServer(), Doubter()
        self.mirror = Mirror(TENANTS, POLICIES["bulkhead"])
        self.mirror.replace_nodes([node("n0", cpu="64")])
        self.mirror.requota()
        self.store = StoreThread(
            open_store(f"sqlite://{directory}/ledger"), self.clock, lambda: self.mirror.guard
        )
        self.carrier = Carrier(
            self.mirror, cast(Guide, Waker()), self.store,
            witness=cast(Witness, self.witness),
            fence=Fence(self.server.present, lambda: self.server.told, self.clock),
            listed=lambda: True, clock=self.clock, wall=self.clock,
        )  # fmt: skip

    def clock(self) -> float:
        return self.now

    async def bound_elsewhere(self) -> None:
        """Another replica admits and binds; this one's watch says nothing of it."""
        self.mirror.pod_changed(pod("elsewhere", uid="elsewhere"))
        charge: Charge = self.mirror.pods["elsewhere"].charge
        self.mirror.pod_removed("elsewhere")
        self.mirror.drain()
        await self.carrier.reconcile()
        await self.store.step(lambda store: store.admit(charge))
        self.server.version += 1

    async def looks(self, times: int) -> list[str]:
        """Compare so often, each time after the longest grace; what is in the ledger then."""
        for _ in range(times):
            await self.carrier.reconcile()
            await self.carrier._look_again()
            self.now += SECOND_LOOK_S
        return await self.store.step(lambda store: store.read(lambda ledger: sorted(ledger.entries)))


class Doubter:
    """Knows nothing of the pods whose UIDs are in `doubts`."""

    def __init__(self) -> None:
        self.doubts: set[str] = set()

    async def doubtful(self, records: Iterable[PodRecord]) -> set[str]:
        return self.doubts & {record.uid for record in records}


class Waker:
    """What the carrier asks of the guide."""

    def wake(self) -> None: ...

    def sweep(self, doubtful: set[str]) -> None: ...

    def overdue(self) -> list[str]:
        return []


def run(directory: Path, story: Callable[[Replica], Awaitable[None]]) -> None:
    async def whole() -> None:
        replica = Replica(directory)
        try:
            await replica.bound_elsewhere()
            await story(replica)
        finally:
            await replica.store.close()

    asyncio.run(whole())


def test_a_watch_that_is_behind_releases_nothing_however_long_it_is(tmp_path: Path) -> None:
    async def story(replica: Replica) -> None:
        assert await replica.looks(20) == ["elsewhere"]
        assert replica.carrier.drifted == 0

    run(tmp_path, story)


@pytest.mark.parametrize("error", [ApiUnavailable("cut off"), Refused(503, "overloaded")])
def test_nor_does_a_replica_that_cannot_ask_how_far_it_is(tmp_path: Path, error: Exception) -> None:
    async def story(replica: Replica) -> None:
        replica.server.error = error
        replica.server.told = 99
        assert await replica.looks(5) == ["elsewhere"]
        assert replica.server.asked >= 5

    run(tmp_path, story)


def test_a_watch_that_came_so_far_and_shows_no_pod_proves_that_it_is_gone(tmp_path: Path) -> None:
    async def story(replica: Replica) -> None:
        assert await replica.looks(2) == ["elsewhere"]
        replica.server.told = replica.server.version
        assert await replica.looks(3) == []
        assert replica.carrier.drifted == 1

    run(tmp_path, story)


def test_a_proof_from_before_the_entry_was_missed_proves_nothing(tmp_path: Path) -> None:
    async def story(replica: Replica) -> None:
        replica.server.told = replica.server.version
        replica.carrier._fence.complete_to = replica.now - 1
        await replica.carrier.reconcile()
        replica.server.told -= 1
        replica.now += SECOND_LOOK_S
        assert await replica.looks(4) == ["elsewhere"]

    run(tmp_path, story)


def test_a_ledger_without_strays_costs_no_question(tmp_path: Path) -> None:
    async def story(replica: Replica) -> None:
        await replica.store.step(lambda store: store.release("elsewhere"))
        assert await replica.looks(5) == []
        assert replica.server.asked == 0

    run(tmp_path, story)


def test_a_reservation_that_is_overdue_stays_while_nobody_knows_whether_its_pod_is_bound(
    tmp_path: Path,
) -> None:
    async def story(replica: Replica) -> None:
        record = replica.mirror.pod_changed(pod("late", uid="late"))
        assert record is not None
        charge, term = record.charge, replica.store.reservation_s
        await replica.store.step(lambda store: store.reserve([charge], replica.now + term, replica.now))
        replica.witness.doubts = {"late"}
        for _ in range(5):
            await replica.carrier._expire()
            replica.now += term
        assert "late" in await replica.looks(2)
        replica.witness.doubts = set()
        await replica.carrier._expire()
        assert "late" not in await replica.looks(1)

    run(tmp_path, story)
