"""One store, real processes: 4 of 16 threads that admit at once, and ones that are killed in the middle of it."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from scheduler.store.opening import open_store
from tenants.ledger.book import Ledger
from tenants.ledger.forest import quotas_of
from tenants.ledger.tree import ROOT
from tenants.model import Allowance, Dimension, Tenant, TenantSet
from tests.support.admissions import TENANTS
from tests.support.ledger import CPU, MEMORY, make_group, make_set
from tests.support.stores import ADDRESSES

REQUESTS = 200
PODS = Dimension("default", "pods")


def crowded() -> TenantSet:
    """Two groups that lend little, and a pool that is far too small for all who ask."""
    share = {d: Allowance(guaranteed=400, max=1_500, lend=200) for d in (CPU, MEMORY)}
    tenants = [
        Tenant(name=f"t{n}", parent=f"g{n % 2}", quota={**share, PODS: Allowance()}) for n in range(TENANTS)
    ]
    groups = [
        make_group(name, {d: Allowance(guaranteed=2_000, max=3_500) for d in (CPU, MEMORY)})
        for name in ("g0", "g1")
    ]
    return make_set(*groups, *tenants, offered={"cpu": 5_000, "memory": 5_000, "pods": 100_000})


def over_admitted(ledger: Ledger) -> list[str]:
    """I1 and I2, in every dimension."""
    found = []
    for dimension, tree in ledger.forest.trees.items():
        for number, name in enumerate(ledger.forest.names):
            limit = 0 if number == ROOT else tree.borrow[number]
            if limit is not None and tree.borrowed(number) > limit:
                found.append(f"{name or 'pool'} {dimension}: {tree.usage[number]} used")
    return found


class Worker:
    """A process of tests.support.admissions that writes to a file, so that no full pipe holds it up."""

    def __init__(self, directory: Path, address: str, number: int, threads: int, *mode: str) -> None:
        self.said = directory / f"said-{number}"
        arguments = [address, str(directory / "go"), f"w{number}", str(threads), str(REQUESTS), *mode]
        with self.said.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.admissions", *arguments], stdout=output
            )

    def lines(self) -> list[str]:
        return self.said.read_text().splitlines()


@contextmanager
def workers(directory: Path, address: str, count: int, threads: int, *mode: str) -> Iterator[list[Worker]]:
    """None of them outlives the block."""
    (directory / "go").unlink(missing_ok=True)
    running = [Worker(directory, address, number, threads, *mode) for number in range(count)]
    try:
        yield running
    finally:
        for one in running:
            one.process.kill()
            one.process.wait()


@pytest.fixture(params=list(ADDRESSES))
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with ADDRESSES[request.param](tmp_path) as found:
        yield f"{found}?patience=60"


@pytest.mark.real
@pytest.mark.parametrize(("count", "threads"), [(2, 16), (4, 16)])
def test_processes_of_many_threads_never_admit_too_much(
    tmp_path: Path, address: str, count: int, threads: int
) -> None:
    store = open_store(address)
    store.configure(quotas_of(crowded()))
    looks = 0
    with workers(tmp_path, address, count, threads) as running:
        start(tmp_path, running)
        begun = time.perf_counter()
        while any(one.process.poll() is None for one in running):
            assert store.read(over_admitted) == []
            looks += 1
            time.sleep(0.02)
        seconds = time.perf_counter() - begun
        lines = [line.split() for one in running for line in one.lines()[1:]]
        assert [one.process.returncode for one in running] == [0] * count
    outcomes: defaultdict[str, set[str]] = defaultdict(set)
    for outcome, uid in lines:
        outcomes[uid].add(outcome)
    asked = count * threads * REQUESTS
    sent = Counter(uid for _, uid in lines)
    admitted = {uid for uid, told in outcomes.items() if told == {"admitted"}}
    ledger = store.read(Ledger.copy)
    sys.stdout.write(
        f"{count} processes x {threads} threads: {asked} requests, {len(lines)} outcomes, {len(admitted)} pods "
        f"admitted of {len(outcomes)}, 0 over-admissions in {looks} looks, {asked / seconds:.0f} requests/s\n"
    )
    assert len(lines) == asked
    assert all(sent[uid] == (count if uid.startswith("all") else 1) for uid in sent)
    assert all(len(told) == 1 for told in outcomes.values()), "the same request was answered in two ways"
    assert admitted == set(ledger.entries)
    assert over_admitted(ledger) == []
    assert 0 < len(admitted) < len(outcomes), "the pool is not crowded"
    ledger.verify()
    store.close()


@pytest.mark.real
def test_a_kill_in_the_middle_loses_nothing_and_leaves_no_half(tmp_path: Path, address: str) -> None:
    store = open_store(address)
    store.configure(quotas_of(crowded()))
    told = looks = 0
    for delay_ms in range(40, 640, 30):
        for uid in store.read(lambda ledger: sorted(ledger.entries)):
            store.release(uid)
        with workers(tmp_path, address, 2, 4, "churn") as running:
            start(tmp_path, running)
            end = time.monotonic() + delay_ms / 1000
            while time.monotonic() < end:
                assert store.read(over_admitted) == []
                looks += 1
                time.sleep(0.005)
            for one in running:
                one.process.send_signal(signal.SIGKILL)
            assert [one.process.wait() for one in running] == [-signal.SIGKILL] * 2
            lines = [line for one in running for line in one.lines()[1:]]
        told += len(lines)
        kept, possible = spoken(lines)
        for opened in (
            store,
            open_store(address),
        ):  # one that was there all the time, and one that starts anew
            ledger = opened.read(Ledger.copy)
            ledger.verify()
            assert over_admitted(ledger) == []
            assert kept <= set(ledger.entries) <= kept | possible
        opened.close()
    if address.startswith("sqlite:"):
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    sys.stdout.write(
        f"20 rounds of SIGKILL to 2 processes, {told} lines written before, 0 lost, 0 half, "
        f"0 over-admissions in {looks} looks\n"
    )
    assert told > 200
    store.close()


def start(directory: Path, running: list[Worker]) -> None:
    """Let all of them go at once, when the last is ready."""
    deadline = time.monotonic() + 60
    while not all(one.lines() for one in running):
        assert time.monotonic() < deadline, "the workers do not start"
        time.sleep(0.01)
    (directory / "go").touch()


def spoken(lines: list[str]) -> tuple[set[str], set[str]]:
    """Pods that must be held by what was said, and those whose last step was cut off: either way is right."""
    last: dict[str, str] = {}
    for line in lines:
        word, uid = line.split()
        last[uid] = word
    kept = {uid for uid, word in last.items() if word == "admitted"}
    return kept, {
        uid for uid, word in last.items() if word in ("asks", "releases")
    }  # not: refused, expired, released
