"""One large run in a process of its own, so that its memory is its own; prints JSON. Called by `scale`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.placement.results import ScaleRun
from benchmarks.placement.tile import Rules, crowd, tiled_nodes, tiled_pods
from scheduler.model import Pod
from scheduler.placement.score.registry import make_policy
from scheduler.placement.state import ClusterState
from scheduler.placement.tenancy import SingleTenant, Tenancy, TenantRules
from scheduler.replay.run import Replay, RunResult, replay
from scheduler.replay.summary import quantile
from scheduler.replay.warm_up import warm_up
from scheduler.traces.inputs import read_inputs
from scheduler.traces.workload import Cluster, scarce_resource

SEED = 42


def main(argv: list[str]) -> int:
    """Run once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--node-list", type=Path, required=True)
    parser.add_argument("--pod-list", type=Path, required=True)
    parser.add_argument("--tenants", type=Path, required=True)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--pods", type=int, required=True)
    parser.add_argument("--rules", type=Rules, choices=list(Rules), required=True)
    parser.add_argument("--policy", default="bulkhead")
    asked = parser.parse_args(argv)
    warm_up()
    started = time.perf_counter()
    run, pods = prepared(asked)
    setup_s = time.perf_counter() - started
    busy = time.process_time()
    result = replay(run, pods, SEED)
    busy = time.process_time() - busy
    sys.stdout.buffer.write(msgspec.json.encode(figures(asked, result, setup_s, busy)))
    return 130 if result.interrupted else 0


def prepared(asked: argparse.Namespace) -> tuple[Replay, list[Pod]]:
    """The tiled cluster, empty, and the pods that will arrive."""
    cluster, tenancy, owners = read(asked.node_list, asked.pod_list, asked.tenants, asked.rules)
    nodes = tiled_nodes(cluster, asked.nodes)
    pods = tiled_pods(cluster, asked.pods, SEED, owners)
    policy = make_policy(asked.policy, SEED, None)
    state = ClusterState(nodes, tenancy, identify_nodes=policy.identify_nodes)
    return Replay(state, policy, scarce_resource(nodes, cluster.pods), time.perf_counter_ns), pods


def read(
    nodes: Path, pods: Path, tenants: Path, rules: Rules
) -> tuple[Cluster, Tenancy, dict[str, list[str]]]:
    """The trace, the tenant rules, and which tenants stand for one of the files."""
    if rules is Rules.NONE:
        return read_inputs(nodes, pods, None, None).cluster, SingleTenant(), {}
    inputs = read_inputs(nodes, pods, tenants, str(tenants / "assign.rules"))
    if rules is Rules.TENANTS:
        return inputs.cluster, inputs.tenancy, {}
    declared, owners = crowd(inputs.tenants)
    return inputs.cluster, TenantRules(declared), owners


def figures(asked: argparse.Namespace, result: RunResult, setup_s: float, busy_s: float) -> ScaleRun:
    """What the run came to."""
    took = sorted(result.decision_ns)
    mean_us = sum(took) / max(len(took), 1) / 1000
    return ScaleRun(
        nodes=asked.nodes,
        pods=asked.pods,
        tenancy=asked.rules,
        policy=asked.policy,
        placed=result.placed,
        refused=result.failed,
        decisions_per_second=round(1e6 / max(mean_us, 1e-9), 1),
        cpu_us=round(1e6 * busy_s / max(len(took), 1), 2),
        mean_us=round(mean_us, 2),
        p50_us=quantile(took, 0.5),
        p99_us=quantile(took, 0.99),
        setup_s=round(setup_s, 2),
        peak_mib=peak_mib(),
    )


def peak_mib() -> float:
    """The most memory this process has held. Not ru_maxrss, which also counts what its parent held before exec."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [kib] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return round(int(kib) / 1024, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
