"""How fast the queue decides, and what a deep queue costs: `python -m benchmarks.queueing [--json]`.

Pods of the openb mix under the sample tenant rules, each tenant with a third of the cluster guaranteed, on an empty
cluster of `--nodes` nodes; then 20,000 waiting pods of one tenant that has used up its quota, and one newcomer of
another. Prints figures and asserts nothing.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import statistics
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.instances.mixes import MIXES
from benchmarks.instances.write import NODES_FILE, PODS_FILE, write_instance
from benchmarks.placement.tile import tiled_nodes, tiled_pods
from scheduler.model import CPU, MEMORY, Node, Pod
from scheduler.placement.cycle import Cycle
from scheduler.placement.score.registry import make_policy
from scheduler.placement.state import ClusterState
from scheduler.placement.tenancy import Tenancy
from scheduler.queueing.queue import Queue
from scheduler.queueing.room import ClusterRoom
from scheduler.queueing.waiting import Guided, Outcome, Waiting
from scheduler.replay.warm_up import warm_up
from scheduler.traces.inputs import read_inputs
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge
from tenants.model import Allowance, Dimension, Tenant, TenantSet

SEED, DEEP, LIMIT = 42, 20_000, 500
DIMENSIONS = {CPU: "cpu", MEMORY: "memory"}


class Figures(msgspec.Struct):
    """What was measured: whole rounds, the ledger's admission of who was guided included."""

    nodes: int
    pods: int
    guided: int
    decided_per_second: float
    round_ms_median: float
    deep_waiting: int
    deep_round_ms: float
    deep_idle_round_ms: float
    newcomer_in_next_round: bool


class Flood:
    """A queue, a ledger and an empty cluster."""

    def __init__(
        self, nodes: list[Node], tenancy: Tenancy, names: list[str], guaranteed_pct: int = 33
    ) -> None:
        policy = make_policy("bulkhead", SEED, None)
        state = ClusterState(nodes, tenancy, identify_nodes=policy.identify_nodes)
        self.room = ClusterRoom(Cycle(state, policy))
        self.queue = Queue()
        self.ledger = Ledger.from_tenants(quotas(nodes, names, guaranteed_pct))

    def round(self, now: float) -> list[Outcome]:
        """A round, and what the store does with it."""
        outcomes = self.queue.round(self.ledger, self.room, now=now, limit=LIMIT)
        for outcome in outcomes:
            if isinstance(outcome, Guided):
                self.ledger.admit(outcome.waiting.charge)
        return outcomes


def quotas(nodes: list[Node], names: list[str], guaranteed_pct: int) -> TenantSet:
    """Every tenant is guaranteed a part of the cluster and may borrow the rest."""
    total: dict[str, int] = {}
    for node in nodes:
        for name, amount in node.allocatable:
            if name in DIMENSIONS:
                total[DIMENSIONS[name]] = total.get(DIMENSIONS[name], 0) + amount
    quota = {
        Dimension("default", name): Allowance(guaranteed=amount * guaranteed_pct // 100 // len(names))
        for name, amount in total.items()
    }
    return TenantSet(tenants={name: Tenant(name=name, quota=quota) for name in names})


def waiting(pod: Pod, arrived: float) -> Waiting:
    """The pod as it stands in the queue."""
    amounts = tuple(sorted((DIMENSIONS[n], amount) for n, amount in pod.shape.requests if n in DIMENSIONS))
    charge = Charge(uid=pod.uid, tenant=pod.shape.tenant, amounts=amounts)
    return Waiting(
        uid=pod.uid,
        key=f"x/{pod.uid}",
        tenant=pod.shape.tenant,
        shape=pod.shape,
        charge=charge,
        arrived=arrived,
    )


def measure(data: Path | None, tenants: Path, nodes: int, pods: int, *, profile: bool) -> Figures:
    """Fill the cluster, then the deep queue."""
    warm_up()
    node_list, pod_list = trace(data)
    inputs = read_inputs(node_list, pod_list, tenants, str(tenants / "assign.rules"))
    cluster = tiled_nodes(inputs.cluster, nodes)
    arriving = [waiting(pod, n * 0.001) for n, pod in enumerate(tiled_pods(inputs.cluster, pods, SEED, {}))]
    names = sorted({pod.tenant for pod in arriving})
    flood = Flood(cluster, inputs.tenancy, names)
    for pod in arriving:
        flood.queue.add(pod)
    watch = cProfile.Profile()
    took, guided = [], 0
    while True:
        if profile:
            watch.enable()
        start = time.perf_counter()
        outcomes = flood.round(now=1.0)
        took.append(time.perf_counter() - start)
        watch.disable()
        new = sum(isinstance(one, Guided) for one in outcomes)
        guided += new
        if not new:
            break
    if profile:
        pstats.Stats(watch, stream=sys.stderr).sort_stats("tottime").print_stats(25)
    deep_ms, idle_ms, at_once = deep(cluster, inputs.tenancy, arriving, names)
    return Figures(
        nodes,
        pods,
        guided,
        guided / sum(took),
        statistics.median(took) * 1000,
        DEEP,
        deep_ms,
        idle_ms,
        at_once,
    )


def deep(
    nodes: list[Node], tenancy: Tenancy, pods: list[Waiting], names: list[str]
) -> tuple[float, float, bool]:
    """Milliseconds of a round with 20,000 waiting pods of one tenant and one newcomer, of one without, and whether
    the newcomer went at once."""
    flood = Flood(nodes, tenancy, names)
    first = max(names, key=lambda name: sum(pod.tenant == name for pod in pods))
    kinds = [pod for pod in pods if pod.tenant == first]
    newcomer = next(pod for pod in pods if pod.tenant != first)
    for number in range(DEEP):
        pod = kinds[number % len(kinds)]
        charge = msgspec.structs.replace(pod.charge, uid=f"deep-{number}")
        flood.queue.add(msgspec.structs.replace(pod, uid=f"deep-{number}", charge=charge))
    fill = Charge(uid="fill", tenant=first, amounts=tuple((d, 1 << 50) for d in sorted(DIMENSIONS.values())))
    flood.ledger.record(fill)
    while flood.round(now=1.0):
        pass
    idle, busy, at_once = [], [], True
    for number in range(21):
        start = time.perf_counter()
        flood.round(now=1.0)
        idle.append(time.perf_counter() - start)
        flood.ledger.release("fill")
        uid = f"new-{number}"
        charge = msgspec.structs.replace(newcomer.charge, uid=uid)
        flood.queue.add(msgspec.structs.replace(newcomer, uid=uid, charge=charge))
        start = time.perf_counter()
        outcomes = flood.round(now=1.0)
        busy.append(time.perf_counter() - start)
        at_once = at_once and any(isinstance(one, Guided) and one.waiting.uid == uid for one in outcomes)
        flood.ledger.record(fill)
    return statistics.median(busy) * 1000, statistics.median(idle) * 1000, at_once


def trace(data: Path | None) -> tuple[Path, Path]:
    """The lists that the cluster is made of: openb's where there is a copy, else drawn ones."""
    for pods in sorted(data.rglob(PODS_FILE)) if data else ():
        if pods.with_name(NODES_FILE).is_file():
            return pods.with_name(NODES_FILE), pods
    directory = Path(os.environ.get("TMPDIR", "/tmp")) / "bulkhead-queueing"  # noqa: S108
    directory.mkdir(exist_ok=True)
    return write_instance(directory, MIXES["openb"], nodes=1213, pods=8152, seed=SEED)


def main(argv: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queueing", description=__doc__)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=30_000)
    parser.add_argument("--data", type=Path, default=os.environ.get("BULKHEAD_DATA"))
    parser.add_argument("--tenants", type=Path, default=Path("deploy/tenants"))
    parser.add_argument("--profile", action="store_true", help="print where the time of the rounds goes")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(argv)
    figures = measure(asked.data, asked.tenants, asked.nodes, asked.pods, profile=asked.profile)
    if asked.json:
        sys.stdout.write(msgspec.json.encode(figures).decode() + "\n")
        return 0
    for name, value in msgspec.structs.asdict(figures).items():
        sys.stdout.write(
            f"{name:24} {value:,.2f}\n" if isinstance(value, float) else f"{name:24} {value:,}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
