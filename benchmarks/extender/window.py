"""One measured run of one variant: everything is up and ready, then the pods are let go, then the bindings are counted.

The clock starts when whoever lets the pods go takes its lease: kube-scheduler's own where pods are not gated, that of
`bulkhead serve` where they are. Until then every process has listed everything and idles; the lease's acquireTime is
exact.
It stops with the last binding that the watch shows. Creation is outside; with `arriving` it is inside: the pods are
created through sixteen connections while everything runs, and the clock starts with the first request.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.control_plane.scheduler import KubeScheduler
from benchmarks.control_plane.usage import cpu_seconds
from benchmarks.extender import population
from benchmarks.extender.beside import EmptyExtender, Process, Redis, Serve
from benchmarks.extender.bindings import Bindings
from benchmarks.extender.variants import Variant, fields
from benchmarks.extender.world import World

KUBE_LEASE, OUR_LEASE = "kube-scheduler", "bulkhead-scheduler"
SETTLE_S: Final = 2.0
ALGORITHM: Final = "scheduler_scheduling_algorithm_duration_seconds"
ATTEMPTS: Final = "scheduler_schedule_attempts_total"


class Run(msgspec.Struct):
    """What one run showed. Times in seconds, CPU in milliseconds of a core per bound pod by process."""

    variant: str
    owned: bool
    arriving: bool
    pods: int
    bound: int
    seconds: float
    rate: float
    serial_ms: float
    attempts: float
    cpu_ms: dict[str, float]
    load: float
    trouble: str = ""

    @property
    def cpu_sum(self) -> float:
        """Of all processes but the benchmark's own."""
        return sum(spent for name, spent in self.cpu_ms.items() if name != "benchmark")


class Window:
    """Runs variants in one world.

    Args:
        pods: how many pods a run of this variant has, bare or owned.
        limit_s: a variant that is not done by then is judged by what it bound so far.
    """

    def __init__(self, world: World, pods: Callable[[Variant, bool], int], limit_s: float) -> None:
        self._world, self._pods_of, self._limit_s = world, pods, limit_s
        self._pods = 0

    def run(self, variant: Variant, *, owned: bool, arriving: bool) -> Run:
        """One run; afterwards no pod and no process of it is left."""
        self._pods = self._pods_of(variant, owned)
        try:
            with contextlib.ExitStack() as stack:
                return self._run(variant, owned=owned, arriving=arriving, stack=stack)
        finally:
            self._world.clear()

    def _run(self, variant: Variant, *, owned: bool, arriving: bool, stack: contextlib.ExitStack) -> Run:
        world = self._world
        manifests = [
            population.pod(
                number, gated=variant.guided, owners=world.owners if owned else None, apart=variant.apart
            )
            for number in range(self._pods)
        ]
        if not arriving:
            world.create_pods(manifests)
            world.hold(OUR_LEASE if variant.guided else KUBE_LEASE)
        beside = start_beside(world, variant, stack)
        scheduler = start_scheduler(world, variant, beside, stack, elects=not arriving and not variant.guided)
        pids = {"kube-apiserver": world.plane.pid("kube-apiserver"), "etcd": world.plane.pid("etcd"),
                "kube-scheduler": scheduler.pid, **{each.name: each.pid for each in beside}}  # fmt: skip
        with Bindings(world.plane.kubeconfig()) as bindings:
            time.sleep(SETTLE_S)
            creator = threading.Thread(target=world.create_pods, args=(manifests,))
            load, spent, own = _load(), _cpu(pids), time.process_time()
            if arriving:
                started = time.time()  # noqa: TID251 - compared with the watch's
                creator.start()
            else:
                acquired = world.let_go(OUR_LEASE if variant.guided else KUBE_LEASE)
                started = datetime.fromisoformat(acquired).timestamp()
            self._wait(bindings, started, beside)
            spent_now, own_now = _cpu(pids), time.process_time()
            if arriving:
                creator.join()
            times = [at for at, _ in bindings.times]
        return self._result(variant, owned, arriving, scheduler.metrics(), times, started, load, {
            **{name: spent_now[name] - spent[name] for name in pids}, "benchmark": own_now - own,
        })  # fmt: skip

    def _wait(self, bindings: Bindings, started: float, beside: list[Process]) -> None:
        while len(bindings.times) < self._pods:
            if time.time() - started > self._limit_s:  # noqa: TID251 - compared with the watch's
                return
            for each in beside:
                each.check()
            time.sleep(0.05)

    def _result(
        self, variant: Variant, owned: bool, arriving: bool, metrics: dict[str, float], times: list[float],
        started: float, load: float, spent: dict[str, float],
    ) -> Run:  # fmt: skip
        bound = len(times)
        seconds = (times[-1] - started) if bound == self._pods else self._limit_s
        measured = _sum(metrics, f"{ALGORITHM}_count")
        return Run(
            variant=variant.name, owned=owned, arriving=arriving, pods=self._pods, bound=bound, seconds=seconds,
            rate=bound / seconds,
            serial_ms=1e3 * _sum(metrics, f"{ALGORITHM}_sum") / measured if measured else 0.0,
            attempts=_sum(metrics, ATTEMPTS) / max(bound, 1),
            cpu_ms={name: round(1e3 * value / max(bound, 1), 3) for name, value in spent.items()},
            load=load,
        )  # fmt: skip


def start_beside(world: World, variant: Variant, stack: contextlib.ExitStack) -> list[Process]:
    """What the variant needs beside kube-scheduler, ready."""
    directory = world.plane.directory
    if variant.empty:
        empty = EmptyExtender(directory, world.certificates)
        stack.enter_context(empty)
        empty.wait_ready()
        return [empty]
    if not variant.serves:
        return []
    found: list[Process] = []
    for old in directory.glob("ledger.db*"):
        old.unlink()
    store = f"sqlite:{directory}/ledger.db"
    if variant.store == "redis":
        redis = Redis(directory)
        stack.enter_context(redis)
        redis.wait_ready()
        found, store = [redis], redis.address
    serve = Serve(world.plane, world.certificates, world.tenants, store, *variant.flags)
    stack.enter_context(serve)
    serve.wait_ready()
    return [serve, *found]


def start_scheduler(
    world: World, variant: Variant, beside: list[Process], stack: contextlib.ExitStack, *, elects: bool
) -> KubeScheduler:
    """kube-scheduler, ready; with `elects` it waits for its lease."""
    files = world.certificates
    tls = {
        "caFile": files["authority.crt"],
        "certFile": files["caller.crt"],
        "keyFile": files["caller.key"],
    }
    port = next((each.port for each in beside if isinstance(each, Serve | EmptyExtender)), 0)
    settings = fields(variant, port, tls)
    if elects:
        settings["leaderElection"] = {
            "leaderElect": True, "resourceName": KUBE_LEASE, "resourceNamespace": "kube-system",
        }  # fmt: skip
    scheduler = KubeScheduler(world.plane, settings)
    stack.callback(scheduler.end)
    scheduler.wait_ready()
    return scheduler


def _cpu(pids: dict[str, int]) -> dict[str, float]:
    return {name: cpu_seconds(pid) for name, pid in pids.items()}


def _sum(metrics: dict[str, float], name: str) -> float:
    return sum(value for key, value in metrics.items() if key.partition("{")[0] == name)


def _load() -> float:
    return float(Path("/proc/loadavg").read_text().split()[0])


def interleaved(
    variants: tuple[Variant, ...], kinds: tuple[bool, ...], rounds: int
) -> Iterator[tuple[Variant, bool]]:
    """Every variant with every kind of pod, again and again."""
    for _ in range(rounds):
        for owned in kinds:
            for variant in variants:
                yield variant, owned


def as_row(run: Run) -> dict[str, Any]:
    """For `--json`."""
    return {**msgspec.to_builtins(run), "cpu_ms_sum": round(run.cpu_sum, 3)}
