"""A disk that is full, or may only be read, under either store: it is said, nothing is half done, and it goes on."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from scheduler.store.opening import open_store
from scheduler.store.protocol import Store, StoreUnavailable
from tenants.ledger.answer import Admitted
from tenants.ledger.book import Ledger
from tenants.ledger.forest import quotas_of
from tests.support.ledger import make_charge, make_set
from tests.support.stores import redis_server
from tests.support.tenants import cpu, make_tenant

pytestmark = pytest.mark.real

NOW = 1_000_000.0
WIDE = quotas_of(make_set(make_tenant("a", quota=cpu(10**9)), offered={"cpu": 10**9}))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB of its own; gone afterwards."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip(f"a file system of its own cannot be mounted here: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)
    assert str(place) not in Path("/proc/mounts").read_text()


def fill(place: Path) -> Path:
    """Not a byte is left."""
    path = place / "ballast"
    with path.open("ab", buffering=0) as file, suppress(OSError):
        for size in (1 << 16, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return path


def entries(store: Store) -> set[str]:
    return store.read(lambda ledger: set(ledger.entries))


def until_refused(store: Store) -> Iterator[str]:
    """Reserves until it cannot any more; answers what it was told yes for."""
    for round_ in range(2_000):
        try:
            store.reserve([make_charge(uid, cpu=1) for uid in batch(round_)], NOW + 30, NOW)
        except StoreUnavailable:
            return
        yield from batch(round_)
        time.sleep(0.005)
    pytest.fail("2,000 batches went onto a full disk")


def batch(round_: int) -> list[str]:
    return [f"r{round_}-{number}" for number in range(64)]


def test_sqlite_on_a_full_disk(small_disk: Path) -> None:
    store = open_store(f"sqlite:{small_disk / 'ledger.db'}")
    store.configure(WIDE)
    store.admit(make_charge("before", cpu=1))
    for round_ in range(20):
        ballast = fill(small_disk)
        before = entries(store)
        before |= set(until_refused(store))
        assert entries(store) == before, "all of a batch or nothing"
        ballast.unlink()
        assert store.admit(make_charge(f"after{round_}", cpu=1)) == Admitted(f"after{round_}")
        fresh = open_store(f"sqlite:{small_disk / 'ledger.db'}")
        assert entries(fresh) == before | {f"after{round_}"}
        fresh.read(Ledger.verify)
        assert set(fresh.expire(NOW + 30, set())) == {uid for uid in before if uid.startswith("r")}
        fresh.close()
    store.close()


def test_sqlite_on_a_disk_with_little_room_left_goes_on_for_as_long_as_it_is_asked(small_disk: Path) -> None:
    store = open_store(f"sqlite:{small_disk / 'ledger.db'}")
    store.configure(WIDE)
    ballast = fill(small_disk)
    with ballast.open("ab") as file:
        file.truncate(ballast.stat().st_size - (400 << 10))
    refused = 0
    for number in range(2_000):
        charges = [make_charge("one", cpu=1 + number)]
        try:
            store.record(charges)
        except StoreUnavailable:
            refused += 1
            store.record(charges)  # said once, not for ever
    assert 0 < refused < 100
    store.close()


def test_sqlite_on_a_disk_that_may_only_be_read(small_disk: Path) -> None:
    address = f"sqlite:{small_disk / 'ledger.db'}"
    store = open_store(address)
    store.configure(WIDE)
    store.admit(make_charge("before", cpu=1))
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreUnavailable, match=r"readonly|unable to open"):
        open_store(address)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    again = open_store(address)
    assert entries(again) == {"before"}
    again.close()


@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_redis_on_a_full_disk(small_disk: Path, fsync: str) -> None:
    """It refuses writes (MISCONF), or ends (fsync always): either way the step did not happen, or is found again."""
    with redis_server(small_disk, f"--appendonly yes --appendfsync {fsync}") as server:
        store = open_store(f"{server.address}?patience=1&timeout=1")
        store.configure(WIDE)
        store.admit(make_charge("before", cpu=1))
        ballast = fill(small_disk)
        told = {"before", *until_refused(store)}
        ballast.unlink()
        assert server.process is not None
        if server.process.poll() is not None:
            server.start()
        deadline = time.monotonic() + 20
        while True:
            with suppress(StoreUnavailable):
                assert store.admit(make_charge("after", cpu=1)) == Admitted("after")
                break
            assert time.monotonic() < deadline, "does not go on"
        here = entries(store)
        assert told | {"after"} <= here
        assert len(here - told - {"after"}) in (0, 64), "all of a batch or nothing"
        server.kill()
        server.start()
        fresh = open_store(server.address)
        assert entries(store) == entries(fresh)
        fresh.read(Ledger.verify)
        fresh.close()
        store.close()


def test_a_ledger_that_vanishes_is_refused_and_begun_anew(tmp_path: Path) -> None:
    address = f"sqlite:{tmp_path / 'ledger.db'}"
    for round_ in range(20):
        store = open_store(address)
        store.configure(WIDE)
        store.reconcile({"pod": make_charge("pod", cpu=1)}, NOW)
        for suffix in ("", "-wal", "-shm")[: 1 + round_ % 3]:
            Path(f"{tmp_path / 'ledger.db'}{suffix}").unlink(missing_ok=True)
        with pytest.raises(StoreUnavailable, match="was removed or replaced"):
            store.admit(make_charge("lost", cpu=1))
        store.close()
        for left in list(tmp_path.iterdir()):
            left.unlink()
