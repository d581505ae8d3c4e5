"""Speed and memory as the cluster grows: each run in a process of its own, sizes taking turns, medians of repeats."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.placement.results import Scale, ScaleRun, medians
from benchmarks.placement.tile import Rules

PODS_PER_NODE = 8
"""What fills openb's nodes: its own list has 6.7 pods per node and asks for 98 % of the GPUs."""
TIMEOUT_S = 1800


class Case(NamedTuple):
    """A size, whose the pods are, and how often to run it."""

    nodes: int
    rules: Rules
    repeats: int


CASES = (
    *(Case(nodes, rules, 3) for nodes in (1_000, 5_000, 20_000) for rules in (Rules.NONE, Rules.TENANTS)),
    *(Case(100_000, rules, 1) for rules in (Rules.NONE, Rules.TENANTS)),
    *(Case(nodes, Rules.CROWD, 1) for nodes in (1_000, 5_000)),
)
QUICK = (*(Case(nodes, rules, 1) for nodes in (1_000, 5_000) for rules in (Rules.NONE, Rules.TENANTS)),)


class ScaleFailed(Exception):
    """A run ended without a result; the message says which, and what it printed last."""


def measure(
    cases: Sequence[Case], trace: tuple[Path, Path], tenants: Path, done: Callable[[str], None]
) -> list[Scale]:
    """Run every case as often as it asks, cases taking turns.

    Raises:
        ScaleFailed: a run ended without a result, or took too long.
    """
    runs: dict[Case, list[ScaleRun]] = defaultdict(list)
    for turn in range(max((case.repeats for case in cases), default=0)):
        for case in cases:
            if turn < case.repeats:
                runs[case].append(run_apart(case, trace, tenants))
                done(f"{case.nodes:,} nodes, rules: {case.rules}")
    return [medians(found) for found in runs.values()]


def run_apart(case: Case, trace: tuple[Path, Path], tenants: Path) -> ScaleRun:
    """One run in a fresh process."""
    nodes, pods = trace
    command = [sys.executable, "-m", "benchmarks.placement.scale_run", "--rules", case.rules]
    command += ["--node-list", str(nodes), "--pod-list", str(pods), "--tenants", str(tenants)]
    command += ["--nodes", str(case.nodes), "--pods", str(case.nodes * PODS_PER_NODE)]
    try:
        ended = subprocess.run(command, capture_output=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise ScaleFailed(f"{case.nodes:,} nodes, rules {case.rules}: not done in {TIMEOUT_S} s") from error
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ScaleFailed(f"{case.nodes:,} nodes, rules {case.rules}: exit {ended.returncode}: {said}")
    return msgspec.json.decode(ended.stdout, type=ScaleRun)


def growth(scale: Sequence[Scale], rules: str, small: int = 5_000, large: int = 100_000) -> float | None:
    """Processor time per decision at the large size over that at the small one; None where either is missing."""
    cost = {found.nodes: found.cpu_us for found in scale if found.tenancy == rules}
    return cost[large] / cost[small] if small in cost and large in cost else None
