"""A master that dies, a replica that takes over, and sentinels that say so: the store follows and forgets nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import redis

from scheduler.store.address import RedisAddress, parse
from scheduler.store.protocol import StoreUnavailable
from scheduler.store.redis import RedisStore
from tenants.ledger.answer import Admitted
from tenants.ledger.book import Ledger
from tenants.ledger.forest import quotas_of
from tests.support.ledger import CPU, make_charge, make_set
from tests.support.stores import RedisServer, free_port
from tests.support.tenants import cpu, make_tenant

pytestmark = pytest.mark.real

ROUNDS = int(os.environ.get("BULKHEAD_FAILOVER_ROUNDS", "3"))
FULL = 3_000
QUOTAS = quotas_of(make_set(make_tenant("a", quota=cpu(FULL)), offered={"cpu": FULL}))
SETTINGS = "--appendonly yes --appendfsync everysec --repl-diskless-sync-delay 0"


class Trio:
    """Two servers, one of them a replica, and a sentinel."""

    def __init__(self, directory: Path) -> None:
        if shutil.which("redis-sentinel") is None:
            pytest.skip("redis-sentinel is not installed (tests/debian-packages.txt)")
        first = RedisServer(directory / "one", SETTINGS)
        self.servers = [
            first,
            RedisServer(directory / "two", f"{SETTINGS} --replicaof 127.0.0.1 {first.port}"),
        ]
        self.port = free_port()
        settings = directory / "sentinel.conf"
        settings.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {directory}\n"
            f"sentinel monitor main 127.0.0.1 {first.port} 1\n"
            "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 2000\n"
        )
        with (directory / "sentinel.log").open("wb") as log:
            self.sentinel = subprocess.Popen(["redis-sentinel", str(settings)], stdout=log, stderr=log)
        self.wait(lambda: self.told("num-slaves") == 1)

    @property
    def address(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.port}/main?patience=30&timeout=1"

    def told(self, fact: str) -> int:
        """What the sentinel says of its master."""
        with closing(redis.Redis(port=self.port, protocol=2)) as client:
            try:
                said = client.sentinel_master("main")
                return int(said[fact]) if isinstance(said, dict) else -1
            except (redis.RedisError, KeyError):
                return -1

    def master(self) -> RedisServer:
        port = self.told("port")
        return next(server for server in self.servers if server.port == port)

    def fail_over(self) -> float:
        """Kill the master; the seconds until another one is named. The dead one comes back as its replica."""
        dead = self.master()
        dead.kill()
        begun = time.monotonic()
        self.wait(lambda: self.told("port") not in (dead.port, -1))
        took = time.monotonic() - begun
        dead.settings = (SETTINGS, f"--replicaof 127.0.0.1 {self.master().port}")
        dead.start()
        self.wait(self.in_step)
        return took

    def in_step(self) -> bool:
        with closing(self.master().client()) as client:
            facts = client.info("replication")
        replica = facts.get("slave0", {})
        return facts["role"] == "master" and replica.get("state") == "online" and replica.get("lag") in (0, 1)

    def wait(self, holds: object) -> None:
        deadline = time.monotonic() + 60
        assert callable(holds)
        while not holds():
            assert time.monotonic() < deadline, "never came to be"
            time.sleep(0.05)

    def end(self) -> None:
        self.sentinel.kill()
        self.sentinel.wait()
        for server in self.servers:
            server.kill()


@contextmanager
def trio(directory: Path) -> Iterator[Trio]:
    made = Trio(directory)
    try:
        yield made
    finally:
        made.end()


class Coming(threading.Thread):
    """Admits and releases all the time."""

    def __init__(self, store: RedisStore, name: str) -> None:
        super().__init__()
        self.store, self.prefix = store, name
        self.told: set[str] = set()
        self.over = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.over.is_set():
            uid = f"{self.prefix}-{number}"
            with suppress(StoreUnavailable):
                if isinstance(self.store.admit(make_charge(uid, cpu=1)), Admitted):
                    self.told.add(uid)
                number += 1
            self.over.wait(0.002)


def opened(address: str) -> RedisStore:
    parsed = parse(address)
    assert isinstance(parsed, RedisAddress)
    return RedisStore(parsed)


def test_the_store_follows_the_master_and_forgets_nothing(tmp_path: Path) -> None:
    took, losses = [], 0
    with trio(tmp_path) as servers:
        stores = [opened(servers.address) for _ in range(2)]
        stores[0].configure(QUOTAS)
        for round_ in range(ROUNDS):
            both = [Coming(store, f"{name}{round_}") for store, name in zip(stores, "xy", strict=True)]
            for one in both:
                one.start()
            time.sleep(0.2)
            took.append(servers.fail_over())
            time.sleep(0.2)
            for one in both:
                one.over.set()
            for one in both:
                one.join()
            told = both[0].told | both[1].told
            ledger = [store.read(Ledger.copy) for store in (*stores, stores[0])][-1]
            assert told <= set(ledger.entries), (
                f"{len(told - set(ledger.entries))} forgotten in round {round_}"
            )
            over = ledger.usage("a")[CPU] - FULL
            assert over <= 0 or sum(store.losses for store in stores) > losses, "over-admitted without a loss"
            sys.stdout.write(
                f"round {round_}: {len(told)} told, {max(0, over)} over after losses, master gone {took[-1]:.2f} s\n"
            )
            losses = sum(store.losses for store in stores)
            ledger.verify()
            stores[0].release_all(sorted(ledger.entries))
            stores[1].read(lambda _: None)
        for store in stores:
            store.close()
    sys.stdout.write(
        f"{ROUNDS} failovers: nothing forgotten, {losses} losses seen and mended, {max(took):.2f} s at most\n"
    )


def test_a_master_that_nobody_knows_is_said(tmp_path: Path) -> None:
    with trio(tmp_path) as servers, pytest.raises(StoreUnavailable, match="No master found for 'other'"):
        opened(servers.address.replace("/main", "/other").replace("patience=30", "patience=0.2"))


def test_a_replica_is_not_taken_for_the_master(tmp_path: Path) -> None:
    with trio(tmp_path) as servers:
        replica = next(server for server in servers.servers if server is not servers.master())
        with pytest.raises(StoreUnavailable, match="is a slave and no master"):
            opened(f"{replica.address}?patience=0.2")
