"""`python -m benchmarks.placement`: quality on traces, speed and memory at scale, against published figures and bars.

0: every bar is met; 1: one is not; 2: bad arguments or input; 130: interrupted, what was done so far is printed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress

from benchmarks.instances.mixes import MIXES
from benchmarks.instances.write import NODES_FILE, PODS_FILE, write_instance
from benchmarks.placement import quality, scale
from benchmarks.placement.bars import bars
from benchmarks.placement.report import show
from benchmarks.placement.results import Results, Scale, TraceQuality
from benchmarks.placement.traces import Trace, drawn_traces, openb_traces
from scheduler.errors import BadInput
from scheduler.placement.score.registry import POLICIES
from scheduler.replay.command import INTERRUPTED, ORACLE, parse_seeds

UNTUNED = tuple(name for name in MIXES if name != "openb")
PARTS = ("openb", "synthetic", "scale")


def main(argv: list[str]) -> int:
    """Measure, print."""
    asked = parse(argv)
    notes = Console(stderr=True)
    try:
        with tempfile.TemporaryDirectory(prefix="bulkhead-benchmark-") as directory:
            results = Bench(asked, Path(directory), notes).run()
    except (BadInput, scale.ScaleFailed) as error:
        notes.print(str(error), soft_wrap=True)
        return 2
    if asked.json:
        sys.stdout.write(msgspec.json.encode(results).decode() + "\n")
    else:
        show(results, Console(width=None if sys.stdout.isatty() else 140))
    if results.interrupted:
        return INTERRUPTED
    return 0 if all(bar.met for bar in results.bars) else 1


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.placement", description=__doc__)
    parser.add_argument(
        "--policies", type=policies, default=["bulkhead", "fgd", ORACLE], help="comma-separated"
    )
    parser.add_argument("--seeds", type=parse_seeds, default=None, help="default 42-51")
    parser.add_argument("--parts", type=parts, default=list(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument(
        "--quick", action="store_true", help="two seeds, small clusters: minutes, not an hour"
    )
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("BULKHEAD_DATA"), help="default $BULKHEAD_DATA"
    )
    parser.add_argument(
        "--tenants", type=Path, default=Path("deploy/tenants"), help="tenant files for the scale runs"
    )
    parser.add_argument("--json", action="store_true", help="print the result for machines")
    asked = parser.parse_args(argv)
    asked.seeds = asked.seeds or ([42, 43] if asked.quick else list(range(42, 52)))
    return asked


def policies(text: str) -> list[str]:
    """Names of policies."""
    return among(text, [*POLICIES, ORACLE])


def parts(text: str) -> list[str]:
    """Names of parts."""
    return among(text, PARTS)


def among(text: str, known: Sequence[str]) -> list[str]:
    """Comma-separated names, all of them known."""
    names = text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return names


class Bench:
    """Runs the parts asked for, with a progress bar; an interrupt keeps what is done."""

    def __init__(self, asked: argparse.Namespace, directory: Path, notes: Console) -> None:
        self._asked = asked
        self._directory = directory
        self._notes = notes
        self._quality: list[TraceQuality] = []
        self._scale: list[Scale] = []

    def run(self) -> Results:
        """Measure everything."""
        interrupted = False
        try:
            self._run_parts()
        except KeyboardInterrupt:
            interrupted = True
        return Results(1, self._quality, self._scale, bars(self._quality, self._scale), interrupted)

    def _run_parts(self) -> None:
        for trace in self._traces():
            runs = len(self._asked.policies) * len(self._asked.seeds)
            with Progress(console=self._notes, transient=True) as progress:
                done = ticking(progress, trace.name, runs)
                self._quality.append(quality.measure(trace, self._asked.policies, self._asked.seeds, done))
            self._notes.print(f"measured {trace.name}: {runs} runs")
        if "scale" in self._asked.parts:
            cases = scale.QUICK if self._asked.quick else scale.CASES
            with Progress(console=self._notes, transient=True) as progress:
                done = ticking(progress, "scale", sum(case.repeats for case in cases))
                self._scale = scale.measure(cases, self._tile(), self._asked.tenants, done)

    def _traces(self) -> list[Trace]:
        found = []
        if "openb" in self._asked.parts:
            found = openb_traces(self._asked.data) if self._asked.data else []
            if not found:
                self._notes.print(
                    "skipped: no openb trace; set BULKHEAD_DATA or --data to where its CSV files are"
                )
        if "synthetic" in self._asked.parts:
            found += drawn_traces(self._directory, UNTUNED)
        return found

    def _tile(self) -> tuple[Path, Path]:
        """The lists that large clusters are made of: openb's default, else drawn ones."""
        if self._asked.data:
            for pods in sorted(self._asked.data.rglob(PODS_FILE)):
                if pods.with_name(NODES_FILE).is_file():
                    return pods.with_name(NODES_FILE), pods
        return write_instance(self._directory / "tile", MIXES["openb"], nodes=1213, pods=8152, seed=42)


def ticking(progress: Progress, name: str, total: int) -> Callable[[str], None]:
    """A task of the bar, advanced by each call."""
    task = progress.add_task(name, total=total)

    def done(what: str) -> None:
        progress.update(task, description=what, advance=1)

    return done


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
