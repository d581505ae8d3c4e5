"""A binding is written only on quota that the store has said yes to, however often and early it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from scheduler.kube.exchange import Answer
from scheduler.kube.writes import Writes
from scheduler.mirror.mirror import Mirror
from scheduler.placement.score.registry import POLICIES
from scheduler.queueing.queue import Queue
from scheduler.serve.binder import Binder
from scheduler.serve.gates import ApiGates, Way
from scheduler.serve.guide import Guide
from scheduler.serve.story import Stories
from scheduler.serve.worker import StoreThread
from scheduler.store.opening import open_store
from tests.support.objects import node, pod
from tests.unit.scheduler.mirror.test_mirror import TENANTS

TERM_S = 20.0


class Clock:
    """Stands until it is moved; the wall clock beside it can be set."""

    def __init__(self) -> None:
        self.now, self.ahead = 1_000.0, 0.0

    def steady(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self.ahead


class ApiServer:
    """Says yes to every binding and counts them."""

    def __init__(self) -> None:
        self.bindings = 0

    async def request(self, method: str, path: str, *arguments: Any, **options: Any) -> Answer:
        self.bindings += path.endswith("/binding")
        return Answer(201, b"{}")


class Cluster:
    """A binder over a real store in a file."""

    def __init__(self, directory: Path) -> None:
        self.clock, self.server = Clock(), ApiServer()
        self.mirror = Mirror(TENANTS, POLICIES["bulkhead"])
        self.mirror.replace_nodes([node("n0", cpu="64"), node("n1", cpu="64")])
        self.mirror.requota()
        wall, steady = self.clock.wall, self.clock.steady
        self.store = StoreThread(
            open_store(f"sqlite:{directory}/ledger.db"), wall, lambda: self.mirror.guard, TERM_S
        )
        api, stories = Writes(cast("Any", self.server)), Stories("run")
        self.guide = Guide(
            self.mirror, Queue(), self.store, ApiGates(api, Way.NOMINATE), stories,
            leads=lambda: True, clock=steady, wall=wall,
        )  # fmt: skip
        self.binder = Binder(self.mirror, self.guide, self.store, api, stories, clock=steady, wall=wall)

    async def configure(self) -> None:
        quotas = self.mirror.ledger.quotas
        await self.store.step(lambda store: store.configure(quotas))

    def opened(self, name: str) -> str:
        """A pod whose gate is open; its UID."""
        record = self.mirror.pod_changed(pod(name, gates=()))
        assert record is not None
        return record.uid

    async def held(self) -> set[str]:
        return await self.store.step(lambda store: store.read(lambda ledger: set(ledger.entries)))


def scenario(directory: Path, play: Callable[[Cluster], Awaitable[None]]) -> None:
    async def run() -> None:
        cluster = Cluster(directory)
        await cluster.configure()
        try:
            await play(cluster)
        finally:
            await cluster.store.close()

    asyncio.run(run())


def test_asked_again_while_the_store_thinks_it_waits_for_the_store_too(tmp_path: Path) -> None:
    async def play(cluster: Cluster) -> None:
        uid, let_go = cluster.opened("slow"), asyncio.Event()
        loop = asyncio.get_running_loop()
        blocked = asyncio.create_task(
            cluster.store.step(lambda _: asyncio.run_coroutine_threadsafe(let_go.wait(), loop).result())
        )
        asked = [asyncio.create_task(cluster.binder.bind("agents", "slow", uid, "n0")) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert cluster.server.bindings == 0
        let_go.set()
        assert await asyncio.gather(*asked) == ["", ""]
        assert await cluster.held() == {uid}
        await blocked

    scenario(tmp_path, play)


def test_a_young_reservation_is_not_asked_for_twice_and_an_old_one_is(tmp_path: Path) -> None:
    async def play(cluster: Cluster) -> None:
        uid = cluster.opened("pod")
        assert await cluster.binder.bind("agents", "pod", uid, "n0") == ""
        await cluster.store.step(lambda store: store.release(uid))
        assert await cluster.binder.bind("agents", "pod", uid, "n0") == ""
        assert await cluster.held() == set()  # within its term nobody could have dropped it
        cluster.clock.now += TERM_S / 2
        assert await cluster.binder.bind("agents", "pod", uid, "n0") == ""
        assert await cluster.held() == {uid}

    scenario(tmp_path, play)


def test_after_the_clock_was_set_the_store_is_asked_again(tmp_path: Path) -> None:
    async def play(cluster: Cluster) -> None:
        uid = cluster.opened("pod")
        assert await cluster.binder.bind("agents", "pod", uid, "n0") == ""
        await cluster.store.step(lambda store: store.release(uid))
        cluster.clock.ahead = 3_600.0
        assert await cluster.binder.bind("agents", "pod", uid, "n0") == ""
        assert await cluster.held() == {uid}

    scenario(tmp_path, play)
