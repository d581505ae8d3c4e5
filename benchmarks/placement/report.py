"""The results as tables for reading. Pure but for the console that is handed in."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.placement.results import Bar, Results, Scale, Spread, TraceQuality


def show(results: Results, console: Console) -> None:
    """Print everything that was measured."""
    if results.quality:
        console.print(quality_table(results.quality))
    if any(trace.over_oracle for trace in results.quality):
        console.print(oracle_table(results.quality))
    if results.scale:
        console.print(scale_table(results.scale))
    if results.bars:
        console.print(bar_table(results.bars))
    if results.interrupted:
        console.print("interrupted: the figures are what was done so far")


def quality_table(quality: Sequence[TraceQuality]) -> Table:
    """A row per trace and policy."""
    table = left("Quality (% of the scarce resource)", "trace", "policy")
    for head in (
        "allocated",
        "FGD publ.",
        "difference",
        "first refused at",
        "worst seed",
        "violations",
    ):
        table.add_column(head, justify="right")
    for trace in quality:
        for policy in trace.policies:
            mean, published = policy.allocation_pct.mean, trace.published_fgd_pct
            table.add_row(
                trace.trace + (" (drawn)" if trace.synthetic else ""),
                policy.policy,
                plus_minus(policy.allocation_pct),
                "" if published is None else f"{published:.2f}",
                "" if published is None else f"{mean - published:+.2f}",
                "none refused" if policy.first_refusal_pct is None else plus_minus(policy.first_refusal_pct),
                "" if policy.first_refusal_worst_pct is None else f"{policy.first_refusal_worst_pct:.2f}",
                f"{policy.violations:,}",
            )
        table.add_section()
    return table


def oracle_table(quality: Sequence[TraceQuality]) -> Table:
    """Seed by seed against FGD that knows the trace."""
    table = left("Over fgd-oracle, seed by seed, in points", "trace", "policy", "allocation", "first refusal")
    for trace in quality:
        for over in trace.over_oracle:
            table.add_row(trace.trace, over.policy, signed(over.allocation), signed(over.first_refusal))
    return table


def scale_table(scale: Sequence[Scale]) -> Table:
    """A row per size and tenancy."""
    table = left("Speed and memory (medians of repeats)", "nodes")
    for head in ("pods", "rules", "runs", "decisions/s", "CPU µs", "mean µs", "p50 µs", "p99 µs", "peak MiB"):
        table.add_column(head, justify="right")
    for found in scale:
        figures = (
            found.decisions_per_second,
            found.cpu_us,
            found.mean_us,
            found.p50_us,
            found.p99_us,
            found.peak_mib,
        )
        counts = (f"{found.nodes:,}", f"{found.pods:,}", found.tenancy, str(found.repeats))
        table.add_row(*counts, *(f"{figure:,.0f}" for figure in figures))
    return table


def bar_table(bars: Sequence[Bar]) -> Table:
    """What is held, and what is not."""
    table = left("Bars", "what", "measured", "limit", "")
    for bar in bars:
        table.add_row(bar.what, f"{bar.measured:,.2f}", bar.limit, "met" if bar.met else "MISSED")
    return table


def left(title: str, *heads: str) -> Table:
    """A table with a title at the left."""
    table = Table(title=title, title_justify="left")
    for head in heads:
        table.add_column(head)
    return table


def plus_minus(figure: Spread) -> str:
    """Mean and standard deviation."""
    return f"{figure.mean:.2f} ± {figure.sd:.2f}"


def signed(values: Sequence[float]) -> str:
    """Each value with its sign."""
    return " ".join(f"{value:+.2f}" for value in values)
