"""What Bulkhead costs and brings beside a real kube-scheduler. `python -m benchmarks.extender --json`.

(a) `calls`: CPU and latency of each verb at 100 to 15,000 nodes. (b) `throughput`: pods bound per second by a real
kube-apiserver, etcd and kube-scheduler under 5,000 nodes: kube-scheduler alone, with an empty extender at its default
sample and at all nodes, Bulkhead classic, Bulkhead guided on SQLite and on Redis. (c) the same walls between tenants as
required anti-affinity, beside Bulkhead, in a cluster in which 10,000 pods of the six tenants stand already: the same
pods on the same nodes for both. Runs are interleaved, ratios are medians over the rounds. Needs
`make kubernetes-tools`, Go, openssl and redis-server. (b) takes some twenty minutes on two cores, (c) six, (a) two.

A rate is what counts, so what is slow has fewer pods: `--pods-of-variant`.

Bare pods and pods of a ReplicaSet are rows of their own: with an owner kube-scheduler's default spreading has something
to count, and Bulkhead needs one write instead of two to guide a pod that somebody makes again.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.extender import calls, population
from benchmarks.extender.bars import bars, medians, text
from benchmarks.extender.variants import ALL, Variant
from benchmarks.extender.window import Run, Window, as_row, interleaved
from benchmarks.extender.world import World

FEWER: Final = ("alone:owned=600", "empty:owned=600", "empty-100=400", "anti-affinity=300")
"""What kube-scheduler takes 20 ms and more for."""


def main() -> int:
    """Measure and print."""
    options = _options()
    runs: list[Run] = []
    kinds = tuple(kind == "owned" for kind in options.pods_of)
    variants = tuple(found for found in ALL if found.name in options.variants)
    with (
        tempfile.TemporaryDirectory(dir=options.directory) as name,
        World(Path(name), options.nodes, population.tenant_files()) as world,
    ):
        window = Window(world, lambda variant, owned: _pods(options, variant, owned=owned), options.limit)

        def run(variant: Variant, *, owned: bool, arriving: bool) -> None:
            with _alone(options.lock):
                runs.append(window.run(variant, owned=owned, arriving=arriving))
            print(msgspec.json.encode(as_row(runs[-1])).decode(), file=sys.stderr, flush=True)

        roomy = tuple(variant for variant in variants if not variant.crowded)
        for arriving in (False, True) if options.arriving else (False,):
            for variant, owned in interleaved(roomy, kinds, options.rounds):
                run(variant, owned=owned, arriving=arriving)
        for variant in variants:
            if variant.crowded:
                world.stand(options.standing, apart=variant.apart)
                for _, owned in interleaved((variant,), kinds, options.rounds):
                    run(variant, owned=owned, arriving=False)
                world.clear_all()
    costs = [] if options.no_calls else calls.every_size(options.call_pods)
    if options.json:
        found = {
            "calls": costs,
            "throughput": medians(runs),
            "bars": bars(runs),
            "runs": [as_row(run) for run in runs],
        }
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        sys.stdout.write(text(runs) + "\n\n" + (calls.table(costs) + "\n" if costs else ""))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [found.name for found in ALL]
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=2000)
    parser.add_argument(
        "--pods-of-variant",
        nargs="*",
        default=FEWER,
        metavar="NAME[:KIND]=N",
        help="another number of pods for some (default: %(default)s)",
    )
    parser.add_argument("--standing", type=int, default=10_000, help="pods that stand in (c)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", nargs="*", choices=names, default=names)
    parser.add_argument("--pods-of", nargs="*", choices=("bare", "owned"), default=("bare", "owned"))
    parser.add_argument("--arriving", action="store_true", help="also the window that includes creation")
    parser.add_argument(
        "--limit",
        type=float,
        default=60,
        help="seconds after which a slow variant is judged by its bindings so far",
    )
    parser.add_argument("--no-calls", action="store_true", help="leave (a) out")
    parser.add_argument("--call-pods", type=int, default=150)
    parser.add_argument(
        "--directory", type=Path, help="for everything that is written; default: the system's"
    )
    parser.add_argument("--lock", type=Path, help="a file to lock during each run, where a machine is shared")
    return parser.parse_args()


def _pods(options: argparse.Namespace, variant: Variant, *, owned: bool) -> int:
    """How many pods a run has; what is said last, and of a kind alone, holds."""
    said = dict(each.split("=", 1) for each in options.pods_of_variant)
    kind = "owned" if owned else "bare"
    return int(said.get(f"{variant.name}:{kind}", said.get(variant.name, options.pods)))


@contextlib.contextmanager
def _alone(lock: Path | None) -> Iterator[None]:
    if lock is None:
        yield
        return
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    raise SystemExit(main())
