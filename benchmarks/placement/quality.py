"""How full policies fill a trace's cluster, and when they first refuse a pod; every event file goes to the checker."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.checker.verify import verify
from benchmarks.placement.published import ALLOCATION_PCT
from benchmarks.placement.results import OverOracle, PolicyQuality, TraceQuality, spread
from benchmarks.placement.traces import Trace
from scheduler.placement.tenancy import SingleTenant
from scheduler.replay.command import ORACLE, policy_for, prepare
from scheduler.replay.events import EventFile
from scheduler.replay.run import RunResult, replay
from scheduler.traces.inputs import Inputs
from scheduler.traces.workload import MEASURED, arrivals
from tenants.model import TenantSet

LOAD = 1.3
Checked = tuple[RunResult, int]
"""A run and the number of violations found in its event file."""


def measure(
    trace: Trace, policies: Sequence[str], seeds: Sequence[int], done: Callable[[str], None]
) -> TraceQuality:
    """Run every policy on every seed, policies taking turns, so that a slow moment of the machine hits all of them."""
    runs: dict[str, list[Checked]] = defaultdict(list)
    for seed in seeds:
        for policy in policies:
            runs[policy].append(run_checked(trace, policy, seed))
            done(f"{trace.name}, {policy}, seed {seed}")
    figures = [figures_of(policy, trace.resource, runs[policy]) for policy in policies]
    published = None if trace.synthetic else ALLOCATION_PCT.get(trace.name)
    return TraceQuality(
        trace=trace.name,
        synthetic=trace.synthetic,
        resource=trace.resource,
        load=LOAD,
        seeds=list(seeds),
        published_fgd_pct=published.fgd if published else None,
        published_best_fit_pct=published.best_fit if published else None,
        policies=figures,
        over_oracle=over_oracle(figures),
    )


def run_checked(trace: Trace, policy: str, seed: int) -> Checked:
    """One replay, and what the checker says of it.

    Raises:
        KeyboardInterrupt: the replay was interrupted.
    """
    inputs = Inputs(trace.cluster, TenantSet(), SingleTenant())
    one = prepare(inputs, policy_for(policy, seed, trace.cluster))
    with tempfile.TemporaryDirectory(prefix="bulkhead-events-") as directory:
        path = Path(directory) / "events.jsonl"
        with EventFile(path) as events:
            events.begin(policy, seed, LOAD, trace.cluster.nodes, inputs.tenancy, inputs.tenants)
            result = replay(one, arrivals(trace.cluster, LOAD, seed), seed, events.decision)
        if result.interrupted:
            raise KeyboardInterrupt
        return result, verify(path).violations


def figures_of(policy: str, resource: str, runs: Sequence[Checked]) -> PolicyQuality:
    """The runs of one policy put together."""
    results = [result for result, _ in runs]
    refusals = [r.first_refusal_load_pct for r in results if r.first_refusal_load_pct is not None]
    took = sum(sum(result.decision_ns) for result in results)
    decided = sum(len(result.decision_ns) for result in results)
    return PolicyQuality(
        policy=policy,
        allocation_pct=spread([result.allocation_pct[resource] for result in results]),
        allocation_of_all_pct={
            name: spread([result.allocation_pct[name] for result in results]).mean for name in MEASURED
        },
        first_refusal_pct=spread(refusals) if len(refusals) == len(results) else None,
        first_refusal_worst_pct=round(min(refusals), 3) if refusals else None,
        decisions_per_second=round(1e9 * decided / max(took, 1), 1),
        placed=sum(result.placed for result in results),
        refused=sum(result.failed for result in results),
        violations=sum(violations for _, violations in runs),
    )


def over_oracle(figures: Sequence[PolicyQuality]) -> list[OverOracle]:
    """Every other policy against the oracle; nothing where the oracle did not run."""
    oracle = next((one for one in figures if one.policy == ORACLE), None)
    if oracle is None:
        return []
    return [
        OverOracle(one.policy, one.allocation_over(oracle), one.first_refusal_over(oracle))
        for one in figures
        if one is not oracle
    ]
