"""Which bars the measured figures clear. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.placement.published import (
    BULKHEAD_AT_LEAST_PCT,
    FGD_WITHIN_POINTS,
    GROWTH_BELOW,
    MEMORY_BELOW_MIB,
)
from benchmarks.placement.results import Bar, Scale, TraceQuality
from benchmarks.placement.scale import growth
from benchmarks.placement.tile import Rules

LARGEST = 100_000


def bars(quality: Sequence[TraceQuality], scale: Sequence[Scale]) -> list[Bar]:
    """Every bar that there are figures for."""
    found = [bar for trace in quality for bar in trace_bars(trace)]
    found += [*truth(quality)] if quality else []
    return [*found, *scale_bars(scale)]


def trace_bars(trace: TraceQuality) -> Iterator[Bar]:
    """Our policy's allocation; FGD's against the published one; ours against FGD on drawn traces."""
    ours, oracle, fgd = trace.of("bulkhead"), trace.of("fgd-oracle"), trace.of("fgd")
    least = None if trace.synthetic else BULKHEAD_AT_LEAST_PCT.get(trace.trace)
    if ours and least is not None:
        mean = ours.allocation_pct.mean
        yield Bar(f"{trace.trace}: bulkhead allocates", mean, f">= {least} %", mean >= least)
    if oracle and trace.published_fgd_pct is not None:
        off = round(oracle.allocation_pct.mean - trace.published_fgd_pct, 3)
        limit = f"within {FGD_WITHIN_POINTS} of {trace.published_fgd_pct} %"
        yield Bar(f"{trace.trace}: fgd-oracle against published", off, limit, abs(off) <= FGD_WITHIN_POINTS)
    if trace.synthetic and ours and fgd:
        over = round(ours.allocation_pct.mean - fgd.allocation_pct.mean, 3)
        yield Bar(f"{trace.trace} (drawn): bulkhead over fgd", over, ">= 0 points", over >= 0)


def truth(quality: Sequence[TraceQuality]) -> Iterator[Bar]:
    """No decision that the checker objects to."""
    found = sum(policy.violations for trace in quality for policy in trace.policies)
    yield Bar("violations found by the checker", found, "= 0", found == 0)


def scale_bars(scale: Sequence[Scale]) -> Iterator[Bar]:
    """Growth of the time per decision, and memory at the largest size."""
    for rules in Rules:
        grown = growth(scale, rules)
        if grown is not None:
            what = f"CPU time per decision, {LARGEST:,} over 5,000 nodes, rules: {rules}"
            yield Bar(what, round(grown, 2), f"< {GROWTH_BELOW}", grown < GROWTH_BELOW)
    peaks = [found.peak_mib for found in scale if found.nodes == LARGEST]
    if peaks:
        what = f"peak MiB, {LARGEST:,} nodes, {8 * LARGEST:,} pods"
        yield Bar(what, max(peaks), f"< {MEMORY_BELOW_MIB}", max(peaks) < MEMORY_BELOW_MIB)
