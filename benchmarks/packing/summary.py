"""Sums of packing results per set and per class, and the table of them. Called by the command line of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from rich.table import Table

from benchmarks.packing.vbp import Known


class Result(msgspec.Struct, frozen=True):
    """What came of one instance; `problems` is empty when the independent check found the packing right."""

    name: str
    family: str
    class_name: str
    items: int
    dimensions: int
    bins: int
    lower_bound: int
    known: Known
    seconds: float
    problems: list[str]

    @property
    def proven_bound(self) -> int:
        """The best lower bound anybody has: the published one, the published optimum, or the packer's."""
        return max(self.lower_bound, self.known.lower_bound, self.known.optimum or 0)


class Sums(msgspec.Struct, frozen=True):
    """One row: bins summed over instances, and how they compare. Gaps are percent of what they are compared with."""

    name: str
    instances: int
    verified: int
    bins: int
    best_known: int
    published_bound: int
    proven_bound: int
    with_optimum: int
    bins_with_optimum: int
    optimum: int
    better: int
    equal: int
    worse: int
    proven_optimal: int
    gap_best_known_percent: float
    gap_published_bound_percent: float
    gap_proven_bound_percent: float
    gap_optimum_percent: float | None
    seconds: float


def summaries(results: Iterable[Result], group: Callable[[Result], str]) -> list[Sums]:
    """One row per group, sorted by name."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(group(result), []).append(result)
    return [_sums(name, members) for name, members in sorted(groups.items())]


def _sums(name: str, results: list[Result]) -> Sums:
    bins = sum(result.bins for result in results)
    best = sum(result.known.best_known for result in results)
    published = sum(result.known.lower_bound for result in results)
    proven = sum(result.proven_bound for result in results)
    solved = [result for result in results if result.known.optimum]
    optimum = sum(result.known.optimum or 0 for result in solved)
    bins_solved = sum(result.bins for result in solved)
    return Sums(
        name=name,
        instances=len(results),
        verified=sum(not result.problems for result in results),
        bins=bins,
        best_known=best,
        published_bound=published,
        proven_bound=proven,
        with_optimum=len(solved),
        bins_with_optimum=bins_solved,
        optimum=optimum,
        better=sum(result.bins < result.known.best_known for result in results),
        equal=sum(result.bins == result.known.best_known for result in results),
        worse=sum(result.bins > result.known.best_known for result in results),
        proven_optimal=sum(result.bins == result.proven_bound for result in results),
        gap_best_known_percent=_percent(bins, best),
        gap_published_bound_percent=_percent(bins, published),
        gap_proven_bound_percent=_percent(bins, proven),
        gap_optimum_percent=_percent(bins_solved, optimum) if solved else None,
        seconds=round(sum(result.seconds for result in results), 1),
    )


def _percent(bins: int, reference: int) -> float:
    return round(100.0 * (bins - reference) / reference, 3)


def as_table(rows: Iterable[Sums]) -> Table:
    """The rows for people; gaps are to the column before them, `bound` is the best lower bound anybody has."""
    table = Table(title="Bins used, against the best known result and the best lower bound")
    table.add_column("class", no_wrap=True)
    for heading in ("instances", "bins", "best known", "gap %", "better", "equal", "worse", "bound", "gap %"):
        table.add_column(heading, justify="right")
    for heading in ("to optimum %", "proven optimal", "seconds"):
        table.add_column(heading, justify="right")
    for row in rows:
        optimum = "–" if row.gap_optimum_percent is None else f"{row.gap_optimum_percent:+.2f}"
        counts = (row.instances, row.bins, row.best_known)
        against = (row.better, row.equal, row.worse, row.proven_bound)
        table.add_row(
            row.name,
            *map(str, counts),
            f"{row.gap_best_known_percent:+.2f}",
            *map(str, against),
            f"{row.gap_proven_bound_percent:+.2f}",
            optimum,
            str(row.proven_optimal),
            f"{row.seconds:.0f}",
        )
    return table
