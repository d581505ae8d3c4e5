"""Medians and ratios of interleaved runs, beside the bars that they are held to. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from benchmarks.extender.variants import (
    ALONE,
    ANTI_AFFINITY,
    CLASSIC,
    EMPTY,
    EMPTY_100,
    GUIDED,
    GUIDED_CROWDED,
    GUIDED_REDIS,
)
from benchmarks.extender.window import Run


class Median(msgspec.Struct, frozen=True):
    """The medians of the runs of one variant and kind; CPU in milliseconds of a core per bound pod."""

    variant: str
    owned: bool
    arriving: bool
    runs: int
    bound: float
    rate: float
    serial_ms: float
    attempts: float
    cpu_ms: dict[str, float]
    cpu_sum: float
    load: float


class Bar(msgspec.Struct, frozen=True):
    """A ratio and its bar: the median of the ratios of the rounds, so that a noisy minute hits both sides."""

    what: str
    owned: bool
    arriving: bool
    ratio: float
    least: float
    most: float
    met: bool


def medians(runs: Sequence[Run]) -> list[Median]:
    """One for every variant, kind of pod and window."""
    return [
        _median([run for run in runs if _key(run) == key]) for key in dict.fromkeys(_key(run) for run in runs)
    ]


def _key(run: Run) -> tuple[str, bool, bool]:
    return run.variant, run.owned, run.arriving


def _median(runs: Sequence[Run]) -> Median:
    first = runs[0]

    def of(read: Callable[[Run], float]) -> float:
        return round(statistics.median(map(read, runs)), 3)

    spent = {name: round(statistics.median(run.cpu_ms[name] for run in runs), 3) for name in first.cpu_ms}
    return Median(
        *_key(first), len(runs), of(lambda run: run.bound), of(lambda run: run.rate), of(lambda run: run.serial_ms),
        of(lambda run: run.attempts), spent,
        of(lambda run: run.cpu_sum), of(lambda run: run.load),
    )  # fmt: skip


def _rate(run: Run) -> float:
    return run.rate


def _serial(run: Run) -> float:
    return run.serial_ms


INFINITE: Final = float("inf")
BARS: Final[tuple[tuple[str, str, str, Callable[[Run], float], float, float], ...]] = (
    *(
        row
        for name in (GUIDED.name, GUIDED_REDIS.name)
        for row in (
            (f"{name} / alone, pods per second", name, ALONE.name, _rate, 1.3, INFINITE),
            (
                f"{name} / empty extender at 100 %, pods per second",
                name,
                EMPTY_100.name,
                _rate,
                15.0,
                INFINITE,
            ),
            (f"{name} / alone, serial time per pod", name, ALONE.name, _serial, 0.0, 0.3),
        )
    ),
    (
        "guided / anti-affinity in a filled cluster, pods per second",
        GUIDED_CROWDED.name,
        ANTI_AFFINITY.name,
        _rate,
        10.0,
        INFINITE,
    ),
    ("classic / empty extender, pods per second", CLASSIC.name, EMPTY.name, _rate, 0.95, INFINITE),
)
"""(what, variant, compared with, of what, least, most)."""


def bars(runs: Sequence[Run]) -> list[Bar]:
    """Every bar whose two variants ran."""
    found = []
    for owned, arriving in dict.fromkeys((run.owned, run.arriving) for run in runs):
        of_kind = [run for run in runs if (run.owned, run.arriving) == (owned, arriving)]
        for what, ours, theirs, read, least, most in BARS:
            above = [read(run) for run in of_kind if run.variant == ours]
            below = [read(run) for run in of_kind if run.variant == theirs]
            ratios = [one / other for one, other in zip(above, below, strict=False) if other]
            if ratios:
                ratio = statistics.median(ratios)
                found.append(Bar(what, owned, arriving, round(ratio, 3), least, most, least <= ratio <= most))
    return found


def text(runs: Sequence[Run]) -> str:
    """The tables as lines."""
    lines = [
        "variant         pods      window     pods/s  bound  serial ms  CPU ms per pod: sum | by process"
    ]
    for row in medians(runs):
        spent = " ".join(f"{name} {value:.2f}" for name, value in row.cpu_ms.items())
        lines.append(
            f"{row.variant:15} {_kind(row.owned):9} {_window(row.arriving):10} {row.rate:6.0f} {row.bound:6.0f} "
            f"{row.serial_ms:10.2f}  {row.cpu_sum:5.2f} | {spent} (median of {row.runs}, load {row.load:.0f})"
        )
    lines.append("")
    for bar in bars(runs):
        wanted = f">= {bar.least}" if bar.most == INFINITE else f"<= {bar.most}"
        verdict = "met" if bar.met else "FALLS SHORT"
        lines.append(
            f"{bar.what:60} {_kind(bar.owned):9} {_window(bar.arriving):10} {bar.ratio:8.2f}  bar {wanted:8} {verdict}"
        )
    return "\n".join(lines)


def _kind(owned: bool) -> str:
    return "owned" if owned else "bare"


def _window(arriving: bool) -> str:
    return "arriving" if arriving else "waiting"
