"""Are the shares fair, and does a deep queue delay others? `python -m benchmarks.extender.fairness`, on a live cluster.

First six tenants of weights 1 to 6 flood at once, each with more than it can get. All pods are there before the first
one is let go, since nobody is evicted for a borrower. What each has in the end is compared with the water-filling
figure: its guarantee and its weight's part of what is left. Then one tenant queues thousands of pods that its quota
does not let in, and pods of another arrive one by one: the time from creation to binding.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.control_plane.ports import wait_until
from benchmarks.extender import population
from benchmarks.extender.bindings import Bindings
from benchmarks.extender.variants import GUIDED
from benchmarks.extender.window import OUR_LEASE, start_beside, start_scheduler
from benchmarks.extender.world import World

NODES, GUARANTEED, POD_CPU = 20, 40, 0.5
WEIGHTS: Final = {number: number + 1 for number in range(population.TENANTS)}
EACH: Final = 400
"""Pods of each tenant: 200 CPUs, where the largest share is 154."""
QUIET_S: Final = 20.0


def main() -> int:
    """Both, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--deep", type=int, default=20_000, help="how many pods the one tenant has waiting")
    parser.add_argument("--probes", type=int, default=40, help="pods of the other tenant")
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    found = {
        "shares": shares(options.directory),
        "deep queue": deep_queue(options.directory, options.deep, options.probes),
    }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


@contextlib.contextmanager
def _running(directory: Path | None, files: str, *, held: bool = False) -> Iterator[World]:
    """Everything runs; with `held`, Bulkhead lets nobody go before its lease is given up."""
    with (
        tempfile.TemporaryDirectory(dir=directory) as name,
        World(Path(name), NODES, files) as world,
        contextlib.ExitStack() as stack,
    ):
        if held:
            world.hold(OUR_LEASE)
        start_scheduler(world, GUIDED, start_beside(world, GUIDED, stack), stack, elects=False)
        yield world


def shares(directory: Path | None) -> dict[str, Any]:
    """CPUs of each tenant against the figure."""
    files = population.tenant_files(GUARANTEED, 400, weights=WEIGHTS, walls=False)
    with _running(directory, files, held=True) as world, Bindings(world.plane.kubeconfig()) as bindings:
        world.create_pods(_pod(number) for number in range(EACH * population.TENANTS))
        world.let_go(OUR_LEASE)
        _until_quiet(bindings)
        got = Counter(key.partition("/")[0] for _, key in bindings.times)
    left = NODES * population.NODE_CPU - GUARANTEED * population.TENANTS
    rows = {}
    for number, weight in WEIGHTS.items():
        wanted = GUARANTEED + left * weight / sum(WEIGHTS.values())
        has = got[population.team(number)] * POD_CPU
        rows[population.team(number)] = {
            "weight": weight, "CPUs": has, "water-filling": round(wanted, 2),
            "off by %": round(100 * (has / wanted - 1), 2),
        }  # fmt: skip
    return rows


def deep_queue(directory: Path | None, deep: int, probes: int) -> dict[str, Any]:
    """Seconds from creation to binding of another tenant's pod, with an empty queue and with a deep one."""
    files = population.tenant_files(GUARANTEED, 400, {0: GUARANTEED}, walls=False)
    with _running(directory, files) as world, Bindings(world.plane.kubeconfig()) as bindings:
        before = _delays(world, bindings, probes // 2, 1_000_000)
        began = time.monotonic()
        world.create_pods(_pod(number * population.TENANTS) for number in range(deep))
        took = time.monotonic() - began
        _until_quiet(bindings)
        after = _delays(world, bindings, probes, 2_000_000)
        waiting = deep - sum(1 for _, key in bindings.times if key.startswith("team-0/"))
    return {
        "waiting pods of the one tenant": waiting,
        "seconds to create them": round(took, 1),
        "median s, empty queue": round(statistics.median(before), 3),
        "median s, deep queue": round(statistics.median(after), 3),
        "worst s, deep queue": round(max(after), 3),
    }


def _pod(number: int) -> dict[str, Any]:
    """A pod of half a CPU, on the shared kernel."""
    pod = population.pod(number, gated=True)
    pod["metadata"]["name"] = f"p{number:07}"
    pod["spec"].pop("runtimeClassName", None)
    pod["spec"]["containers"][0]["resources"] = {
        "requests": {"cpu": f"{int(1000 * POD_CPU)}m", "memory": "128Mi"}
    }
    return pod


def _delays(world: World, bindings: Bindings, probes: int, first: int) -> list[float]:
    delays = []
    for probe in range(probes):
        pod = _pod((first + probe) * population.TENANTS + 1)
        key = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        began = time.time()  # noqa: TID251 - compared with the watch's
        world.api.create(pod)
        wait_until(f"{key} is bound", lambda key=key: _time_of(bindings, key), 120, pause=0.01)  # type: ignore[misc]
        delays.append((_time_of(bindings, key) or 0.0) - began)
        time.sleep(0.1)
    return delays


def _time_of(bindings: Bindings, key: str) -> float | None:
    return next((at for at, found in reversed(bindings.times) if found == key), None)


def _until_quiet(bindings: Bindings) -> None:
    last, since = -1, time.monotonic()
    while time.monotonic() - since < QUIET_S:
        if len(bindings.times) != last:
            last, since = len(bindings.times), time.monotonic()
        time.sleep(0.2)


if __name__ == "__main__":
    raise SystemExit(main())
