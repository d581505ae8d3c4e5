"""What a step of the ledger store costs: `python -m benchmarks.stores [--json]`. Prints figures and asserts nothing.

For each store and each number of pods already in it: CPU and wall time of this process per admit, per batch of 64
reservations, per confirmation and per read, the median of interleaved rounds; and how long a process that starts
takes to know everything. The server's own CPU is not in the CPU figure, its answer is in the wall figure.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from scheduler.store.opening import open_store
from scheduler.store.protocol import Store, StoreUnavailable
from tenants.ledger.charge import Charge
from tenants.ledger.forest import Quotas, quotas_of
from tenants.model import Allowance, Dimension, Group, Tenant, TenantSet

Item = TypeVar("Item")

TENANTS, GROUPS = 200, 20
BATCH = 64
SIZES = (0, 10_000, 150_000)
ROUNDS, STEPS = 5, 40


class Figure(NamedTuple):
    """Medians, in microseconds."""

    store: str
    entries: int
    step: str
    cpu_us: float
    wall_us: float


def quotas() -> Quotas:
    """Tenants in groups, every dimension stated, room for everybody."""
    wide = {
        Dimension("default", name): Allowance(guaranteed=10**9, max=10**12)
        for name in ("cpu", "memory", "pods")
    }
    groups = {f"g{n}": Group(name=f"g{n}") for n in range(GROUPS)}
    tenants = {f"t{n}": Tenant(name=f"t{n}", parent=f"g{n % GROUPS}", quota=wide) for n in range(TENANTS)}
    return quotas_of(TenantSet(tenants=tenants, groups=groups, pools={}))


def charge(uid: str, number: int) -> Charge:
    """A pod as they are: a UID of 36 characters, three resources."""
    return Charge(
        uid=f"{uid:0>28}{number:0>8}",
        tenant=f"t{number % TENANTS}",
        amounts=(("cpu", 250 + number % 4_000), ("memory", 512), ("pods", 1)),
        application=f"app-{number % 1_000}",
        born=number,
    )


@contextmanager
def redis_server(directory: Path, fsync: str) -> Iterator[str]:
    """A server on a free port of this machine, ended afterwards."""
    directory.mkdir()
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", "",
                "--appendonly", "yes", "--appendfsync", fsync]  # fmt: skip
    server = subprocess.Popen(["redis-server", *settings], stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}?timeout=60&patience=60"
    finally:
        server.kill()
        server.wait()


@contextmanager
def addresses(directory: Path) -> Iterator[dict[str, str]]:
    """Each store by name; without Redis where it is not installed."""
    with ExitStack() as stack:
        found = {
            "SQLite": f"sqlite:{directory / 'ledger.db'}",
            "SQLite, durable": f"sqlite:{directory / 'durable.db'}?durable=true",
        }
        if shutil.which("redis-server"):
            for fsync in ("everysec", "always"):
                address = stack.enter_context(redis_server(directory / fsync, fsync))
                found[f"Redis, {fsync}"] = address
        yield found


def measure(store: Store, name: str, entries: int) -> list[Figure]:
    """Every step, on a store that holds so many entries; it holds as many afterwards."""
    samples: dict[str, list[tuple[float, float]]] = {}
    for round_ in range(ROUNDS):
        fresh = [charge(f"new{round_}", number) for number in range(STEPS)]
        batches = [[charge(f"r{round_}-{b}", number) for number in range(BATCH)] for b in range(STEPS // 8)]
        reserved = [one.uid for batch in batches for one in batch]
        steps: list[tuple[str, Callable[[], object], int]] = [
            ("admit", partial(each, store.admit, fresh), len(fresh)),
            (
                "reserve 64",
                partial(each, partial(store.reserve, deadline_s=1e9, now_s=1.0), batches),
                len(batches),
            ),
            ("confirm", partial(each, store.confirm, reserved[:STEPS]), STEPS),
            ("confirm 64", partial(store.confirm_all, reserved[-BATCH:]), 1),
            ("read", partial(each, store.read, [id] * STEPS), STEPS),
        ]
        for step, run, count in steps:
            samples.setdefault(step, []).append(timed(run, count))
        store.release_all([*(one.uid for one in fresh), *reserved])
    return [
        Figure(name, entries, step, *(statistics.median(column) for column in zip(*rows, strict=True)))
        for step, rows in samples.items()
    ]


def each(step: Callable[[Item], object], items: Iterable[Item]) -> None:
    """One step per item."""
    for item in items:
        step(item)


def timed(run: Callable[[], object], count: int) -> tuple[float, float]:
    """CPU and wall time per step in microseconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return (time.process_time() - cpu) / count * 1e6, (time.perf_counter() - wall) / count * 1e6


def figures(directory: Path, sizes: tuple[int, ...]) -> list[Figure]:
    """All of them; sizes grow, so that each store is filled once."""
    found = []
    with addresses(directory) as places:
        stores = {name: open_store(address) for name, address in places.items()}
        for store in stores.values():
            store.configure(quotas())
        filled = 0
        for size in sizes:
            for name, store in stores.items():
                store.record(charge("old", number) for number in range(filled, size))
                found += measure(store, name, size)
                found.append(start(places[name], name, size))
            filled = size
        for store in stores.values():
            with suppress(StoreUnavailable):
                store.close()
    return found


def start(address: str, name: str, size: int) -> Figure:
    """From nothing to the first answer."""

    def run() -> None:
        store = open_store(address)
        store.read(id)
        store.close()

    return Figure(name, size, "start", *timed(run, 1))


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stores", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--sizes", default=",".join(str(size) for size in SIZES), help="entries, growing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = figures(Path(directory), tuple(int(size) for size in arguments.sizes.split(",")))
    if arguments.json:
        sys.stdout.write(json.dumps([one._asdict() for one in found], indent=1) + "\n")
        return
    sys.stdout.write(f"{'store':<18}{'entries':>9}  {'step':<12}{'CPU µs':>12}{'wall µs':>12}\n")
    for one in found:
        sys.stdout.write(
            f"{one.store:<18}{one.entries:>9,}  {one.step:<12}{one.cpu_us:>12,.0f}{one.wall_us:>12,.0f}\n"
        )


if __name__ == "__main__":
    main()
