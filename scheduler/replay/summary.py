"""What several replays of one setting came to together: the JSON of `bulkhead replay` and its table. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

import msgspec

from scheduler.replay.run import RunResult
from scheduler.traces.workload import GPU


class Spread(msgspec.Struct, frozen=True):
    """A figure over seeds: mean and population standard deviation, as the published tables state them."""

    mean: float
    sd: float
    per_seed: list[float]


class Micros(msgspec.Struct, frozen=True):
    """Microseconds per decision, deciding and applying."""

    p50: float
    p99: float
    mean: float


class Summary(msgspec.Struct, frozen=True):
    """The figures of one policy on one trace. `gpu_allocation_pct` is None on a cluster without GPUs."""

    schema: int
    policy: str
    load: float | None
    seeds: list[int]
    gpu_allocation_pct: Spread | None
    allocation_pct: dict[str, Spread]
    first_refusal_load_pct: Spread | None
    placed: int
    failed: int
    failed_by_reason: dict[str, int]
    nodes_used: list[int]
    decisions_per_second: float
    decision_us: Micros
    peak_rss_mib: float
    interrupted: bool


def summarise(
    policy: str, load: float | None, results: Sequence[RunResult], *, has_gpus: bool, peak_rss_mib: float
) -> Summary:
    """Put the results of all seeds together."""
    failures: Counter[str] = Counter()
    for result in results:
        failures.update(result.failed_by_reason)
    took = sorted(nanoseconds for result in results for nanoseconds in result.decision_ns)
    allocation = {
        name: spread([result.allocation_pct[name] for result in results])
        for name in results[0].allocation_pct
    }
    refusals = [r.first_refusal_load_pct for r in results if r.first_refusal_load_pct is not None]
    return Summary(
        schema=1,
        policy=policy,
        load=load,
        seeds=[result.seed for result in results],
        gpu_allocation_pct=allocation[GPU] if has_gpus else None,
        allocation_pct=allocation,
        first_refusal_load_pct=spread(refusals) if refusals else None,
        placed=sum(result.placed for result in results),
        failed=sum(result.failed for result in results),
        failed_by_reason=dict(failures.most_common()),
        nodes_used=[result.nodes_used for result in results],
        decisions_per_second=1e9 * len(took) / max(sum(took), 1),
        decision_us=Micros(quantile(took, 0.5), quantile(took, 0.99), sum(took) / max(len(took), 1) / 1000),
        peak_rss_mib=peak_rss_mib,
        interrupted=any(result.interrupted for result in results),
    )


def spread(values: list[float]) -> Spread:
    """Mean and population standard deviation, rounded to a thousandth of a point."""
    return Spread(
        round(statistics.fmean(values), 3), round(statistics.pstdev(values), 3), [round(v, 3) for v in values]
    )


def quantile(ordered: Sequence[int], share: float) -> float:
    """Nearest-rank quantile of ascending nanoseconds, in microseconds; 0 of nothing."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] / 1000 if ordered else 0.0
