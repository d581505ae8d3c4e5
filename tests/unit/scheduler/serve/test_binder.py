"""A binding is written only on quota that the store has said yes to, however often and early it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from scheduler.kube.errors import ApiUnavailable
from scheduler.kube.exchange import Answer
from scheduler.kube.writes import Writes
from scheduler.mirror.mirror import Mirror
from scheduler.mirror.record import Stage
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
    """Says yes to every binding and counts them.

    Attributes:
        silent: methods that get no answer.
        binds: status and message of the answer to a binding.
        node: where a pod stands, for who reads it; None for a pod that is gone.
    """

    def __init__(self) -> None:
        self.bindings = 0
        self.silent: set[str] = set()
        self.binds = (201, "")
        self.node: str | None = ""

    async def request(self, method: str, path: str, *arguments: Any, **options: Any) -> Answer:
        if method in self.silent:
            raise ApiUnavailable("cut off")
        if path.endswith("/binding"):
            self.bindings += 1
            return Answer(self.binds[0], msgspec.json.encode({"message": self.binds[1]}))
        if self.node is None:
            return Answer(404, b"{}")
        name = path.rpartition("/")[2]
        spec = {"nodeName": self.node} if self.node else {}
        return Answer(200, msgspec.json.encode({"metadata": {"uid": f"uid-agents-{name}"}, "spec": spec}))


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

    async def dropped(self) -> str:
        """A pod whose binding nobody answered, and whose reservation somebody has dropped since; its UID."""
        uid = self.opened("pod")
        self.server.silent = {"POST"}
        assert "did not answer" in await self.bind(uid, "n0")
        await self.store.step(lambda store: store.release(uid))
        return uid

    async def held(self) -> set[str]:
        return set(await self.places())

    async def places(self) -> dict[str, str]:
        """UID -> node, by the store."""
        return await self.store.step(
            lambda store: store.read(
                lambda ledger: {uid: entry.charge.node for uid, entry in ledger.entries.items()}
            )
        )

    async def bind(self, uid: str, node: str) -> str:
        return await self.binder.bind("agents", "pod", uid, node)


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
        uid = await cluster.dropped()
        assert "did not answer" in await cluster.bind(uid, "n0")
        assert await cluster.held() == set()  # within its term nobody could have dropped it
        cluster.clock.now += TERM_S / 2
        cluster.server.silent = set()
        assert await cluster.bind(uid, "n0") == ""
        assert await cluster.held() == {uid}

    scenario(tmp_path, play)


def test_after_the_clock_was_set_the_store_is_asked_again(tmp_path: Path) -> None:
    async def play(cluster: Cluster) -> None:
        uid = await cluster.dropped()
        cluster.clock.ahead = 3_600.0
        cluster.server.silent = set()
        assert await cluster.bind(uid, "n0") == ""
        assert await cluster.held() == {uid}

    scenario(tmp_path, play)


def test_what_the_api_server_has_bound_is_known_before_the_watch_tells_and_no_older_news_undoes_it(
    tmp_path: Path,
) -> None:
    async def play(cluster: Cluster) -> None:
        uid = cluster.opened("pod")
        assert await cluster.bind(uid, "n0") == ""
        assert cluster.opened("pod") == uid  # a state from before the binding
        record = cluster.mirror.pods[uid]
        assert (record.stage, record.node) == (Stage.BOUND, "n0")
        assert cluster.guide.in_flight == {}
        assert await cluster.bind(uid, "n1") == "it stands on node n0"

    scenario(tmp_path, play)


@pytest.mark.parametrize(("silent", "node"), [({"POST", "GET"}, ""), ({"POST"}, "n0")])
def test_after_a_binding_without_an_answer_nothing_moves_until_it_is_known(
    tmp_path: Path, silent: set[str], node: str
) -> None:
    async def play(cluster: Cluster) -> None:
        uid = cluster.opened("pod")
        cluster.server.silent, cluster.server.node = silent, node
        assert "did not answer" in await cluster.bind(uid, "n0")
        assert "has happened, or may have" in await cluster.bind(uid, "n1")
        assert await cluster.places() == {uid: "n0"}
        assert cluster.server.bindings == 0

    scenario(tmp_path, play)


def test_once_it_is_known_not_to_have_happened_the_pod_may_go_elsewhere(tmp_path: Path) -> None:
    async def play(cluster: Cluster) -> None:
        uid = cluster.opened("pod")
        cluster.server.silent = {"POST"}
        await cluster.bind(uid, "n0")
        cluster.server.silent = set()
        assert await cluster.bind(uid, "n1") == ""
        assert await cluster.places() == {uid: "n1"}

    scenario(tmp_path, play)


def test_another_replicas_reservation_elsewhere_is_looked_into_before_it_moves(tmp_path: Path) -> None:
    async def play(cluster: Cluster) -> None:
        uid = cluster.opened("pod")
        charge = msgspec.structs.replace(cluster.mirror.pods[uid].charge, node="n0")
        now = cluster.clock.wall()
        await cluster.store.step(lambda store: store.reserve([charge], now + TERM_S, now))
        cluster.server.node = "n0"
        assert "has happened, or may have" in await cluster.bind(uid, "n1")
        assert await cluster.places() == {uid: "n0"}
        assert cluster.mirror.pods[uid].stage is Stage.BOUND

    scenario(tmp_path, play)


@pytest.mark.parametrize("status", [409, 504, 500])
@pytest.mark.parametrize(
    ("node", "held"), [("n1", True), ("", False), (None, False)], ids=["elsewhere", "nowhere", "gone"]
)
def test_a_refused_binding_gives_its_quota_back_only_where_the_pod_stands_nowhere(
    tmp_path: Path, status: int, node: str | None, held: bool
) -> None:
    async def play(cluster: Cluster) -> None:
        uid = cluster.opened("pod")
        cluster.server.binds, cluster.server.node = (status, "no"), node
        assert "no" in await cluster.bind(uid, "n0")
        assert await cluster.held() == ({uid} if held else set())
        assert (cluster.mirror.pods[uid].node or None) == (node if held else None)

    scenario(tmp_path, play)


def test_a_refusal_that_cannot_be_looked_into_keeps_the_quota(tmp_path: Path) -> None:
    async def play(cluster: Cluster) -> None:
        uid = cluster.opened("pod")
        cluster.server.binds, cluster.server.silent = (504, "too slow"), {"GET"}
        assert "too slow" in await cluster.bind(uid, "n0")
        assert await cluster.places() == {uid: "n0"}

    scenario(tmp_path, play)


def test_a_node_that_somebody_else_has_overfilled_takes_no_guided_pod(tmp_path: Path) -> None:
    async def play(cluster: Cluster) -> None:
        uid = cluster.opened("pod")
        cluster.server.silent = {"POST"}
        await cluster.bind(uid, "n0")
        cluster.server.silent = set()
        cluster.mirror.pod_changed(pod("filler", on="n0", cpu="64"))
        assert "on node n0" in await cluster.bind(uid, "n0")
        assert await cluster.held() == set()
        assert await cluster.bind(uid, "n1") == ""

    scenario(tmp_path, play)


def test_what_another_replica_may_have_bound_is_not_given_back_with_a_refusal(tmp_path: Path) -> None:
    async def play(cluster: Cluster) -> None:
        uid = cluster.opened("pod")
        charge = msgspec.structs.replace(cluster.mirror.pods[uid].charge, node="n0")
        now = cluster.clock.wall()
        await cluster.store.step(lambda store: store.reserve([charge], now + TERM_S, now))
        cluster.mirror.pod_changed(pod("filler", on="n0", cpu="64"))
        cluster.server.silent = {"GET"}
        assert "on node n0" in await cluster.bind(uid, "n0")
        assert await cluster.places() == {uid: "n0"}

    scenario(tmp_path, play)
