"""What the benchmark measured, as values: the JSON of `python -m benchmarks.placement --json`. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """A figure over seeds: mean, population standard deviation, and each seed's."""

    mean: float
    sd: float
    per_seed: list[float]


class PolicyQuality(msgspec.Struct, frozen=True):
    """One policy on one trace. Percentages are of the capacity of the trace's scarce resource.

    `first_refusal_pct` is the load that had arrived when the first pod was refused; None where none was.
    """

    policy: str
    allocation_pct: Spread
    allocation_of_all_pct: dict[str, float]
    first_refusal_pct: Spread | None
    first_refusal_worst_pct: float | None
    decisions_per_second: float
    placed: int
    refused: int
    violations: int

    def allocation_over(self, other: PolicyQuality) -> list[float]:
        """Points of allocation more than another policy, seed by seed."""
        pairs = zip(self.allocation_pct.per_seed, other.allocation_pct.per_seed, strict=True)
        return [round(mine - theirs, 3) for mine, theirs in pairs]

    def first_refusal_over(self, other: PolicyQuality) -> list[float]:
        """Points of load by which the first refusal came later than another policy's, seed by seed."""
        if self.first_refusal_pct is None or other.first_refusal_pct is None:
            return []
        pairs = zip(self.first_refusal_pct.per_seed, other.first_refusal_pct.per_seed, strict=True)
        return [round(mine - theirs, 3) for mine, theirs in pairs]


class OverOracle(msgspec.Struct, frozen=True):
    """A policy against FGD that was told the whole trace beforehand, seed by seed, in points."""

    policy: str
    allocation: list[float]
    first_refusal: list[float]


class TraceQuality(msgspec.Struct, frozen=True):
    """All policies on one trace, beside what was published for it."""

    trace: str
    synthetic: bool
    resource: str
    load: float
    seeds: list[int]
    published_fgd_pct: float | None
    published_best_fit_pct: float | None
    policies: list[PolicyQuality]
    over_oracle: list[OverOracle]

    def of(self, policy: str) -> PolicyQuality | None:
        """The figures of a policy."""
        return next((one for one in self.policies if one.policy == policy), None)


class ScaleRun(msgspec.Struct, frozen=True):
    """One run in a process of its own. Times are per decision, deciding and applying.

    `cpu_us` is the processor time of the whole replay per decision: what others do on the machine does not count.
    """

    nodes: int
    pods: int
    tenancy: str
    policy: str
    placed: int
    refused: int
    decisions_per_second: float
    cpu_us: float
    mean_us: float
    p50_us: float
    p99_us: float
    setup_s: float
    peak_mib: float


class Scale(msgspec.Struct, frozen=True):
    """The repeats of one size and tenancy; figures are medians, memory is the largest."""

    nodes: int
    pods: int
    tenancy: str
    repeats: int
    decisions_per_second: float
    cpu_us: float
    mean_us: float
    p50_us: float
    p99_us: float
    peak_mib: float
    runs: list[ScaleRun]


class Bar(msgspec.Struct, frozen=True):
    """Something the project holds itself to: what was measured, the limit, whether it holds."""

    what: str
    measured: float
    limit: str
    met: bool


class Results(msgspec.Struct, frozen=True):
    """Everything."""

    schema: int
    quality: list[TraceQuality]
    scale: list[Scale]
    bars: list[Bar]
    interrupted: bool = False


def spread(values: Sequence[float]) -> Spread:
    """Mean and population standard deviation, rounded to a thousandth."""
    return Spread(
        round(statistics.fmean(values), 3), round(statistics.pstdev(values), 3), [round(v, 3) for v in values]
    )


def medians(runs: Sequence[ScaleRun]) -> Scale:
    """The repeats of one size as one figure each."""
    first = runs[0]
    return Scale(
        nodes=first.nodes,
        pods=first.pods,
        tenancy=first.tenancy,
        repeats=len(runs),
        decisions_per_second=statistics.median(run.decisions_per_second for run in runs),
        cpu_us=statistics.median(run.cpu_us for run in runs),
        mean_us=statistics.median(run.mean_us for run in runs),
        p50_us=statistics.median(run.p50_us for run in runs),
        p99_us=statistics.median(run.p99_us for run in runs),
        peak_mib=max(run.peak_mib for run in runs),
        runs=list(runs),
    )
