"""Packs published vector bin packing instances and compares with the best known results.

    python -m benchmarks.packing --instances instances.tar.gz --known new_known.csv triplet_known.csv

Every packing is checked by `check`, which shares no code with the packer. Exit status: 0 done, 1 a packing
is wrong, 2 bad input, 130 interrupted (what is finished is printed).
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.packing.solve import Task, solved
from benchmarks.packing.summary import Result, Sums, as_table, summaries
from benchmarks.packing.vbp import read_archive, read_known, require_known
from scheduler.errors import BadInput, Problem

LINE_EVERY = 20  # instances, where progress goes to a file
TABLE_WIDTH = 120  # also where the output is not a terminal


class Report(msgspec.Struct, frozen=True):
    """The whole run for machines; `finished` is false after an interruption."""

    version: int
    seed: int
    jobs: int
    seconds_per_instance: float
    seconds: float
    finished: bool
    sets: list[Sums]
    classes: list[Sums]
    instances: list[Result]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.packing", description=(__doc__ or "").split("\n")[0]
    )
    made.add_argument("--instances", type=Path, required=True, metavar="TAR", help="archive of .vbp files")
    made.add_argument("--known", type=Path, required=True, nargs="+", metavar="CSV", help="published results")
    made.add_argument("--only", default="*", metavar="GLOB", help="instances by name, e.g. 'class3_*_10_*'")
    made.add_argument(
        "--seconds", type=float, default=10.0, help="per instance at most (default %(default)s)"
    )
    made.add_argument("--jobs", type=int, default=1, help="processes (default %(default)s)")
    made.add_argument("--seed", type=int, default=1, help="of every random choice (default %(default)s)")
    made.add_argument("--json", action="store_true", help="print the result for machines")
    return made


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and print what came of it."""
    arguments = parser().parse_args(argv)
    try:
        tasks = read_tasks(arguments)
    except BadInput as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    started = time.monotonic()
    results = collected(watched(solved(tasks, arguments.jobs), len(tasks)))
    report = Report(
        version=1,
        seed=arguments.seed,
        jobs=arguments.jobs,
        seconds_per_instance=arguments.seconds,
        seconds=round(time.monotonic() - started, 1),
        finished=len(results) == len(tasks),
        sets=summaries(results, lambda result: result.family),
        classes=summaries(results, lambda result: f"{result.family} {result.class_name}"),
        instances=sorted(results, key=lambda result: (result.family, result.name)),
    )
    show(report, arguments.json)
    if not report.finished:
        return 130
    return 1 if any(result.problems for result in results) else 0


def collected(results: Iterable[Result]) -> list[Result]:
    """All results, or those finished before an interruption."""
    finished: list[Result] = []
    try:
        for result in results:
            finished.append(result)  # noqa: PERF402  # an interruption must leave what is there
    except KeyboardInterrupt:
        print(f"interrupted: {len(finished)} instances are finished", file=sys.stderr)
    return finished


def read_tasks(arguments: argparse.Namespace) -> list[Task]:
    """The instances that were asked for; raises BadInput."""
    if not arguments.seconds > 0 or arguments.jobs < 1:
        raise BadInput([Problem("--seconds, --jobs", 1, "both must be above zero")])
    known = read_known(arguments.known)
    found = [item for item in read_archive(arguments.instances) if fnmatch.fnmatch(item.name, arguments.only)]
    if not found:
        raise BadInput([Problem(str(arguments.instances), 1, f"no instance is named {arguments.only}")])
    require_known(found, known, arguments.instances)
    return [Task(item, known[item.name], arguments.seconds, arguments.seed) for item in found]


def watched(results: Iterable[Result], total: int) -> Iterator[Result]:
    """Pass results on and show on standard error how far the run is; a line now and then where that is a file."""
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        shown = progress.add_task("packing", total=total)
        bins = best = 0
        for done, result in enumerate(results, start=1):
            bins, best = bins + result.bins, best + result.known.best_known
            state = f"{bins} bins, best known {best}"
            progress.update(shown, advance=1, description=state)
            if not console.is_terminal and done % LINE_EVERY == 0:
                print(f"{done} of {total} packed: {state}", file=sys.stderr, flush=True)
            yield result


def show(report: Report, as_json: bool) -> None:
    """Print the report, and every wrong packing on standard error."""
    for result in report.instances:
        for problem in result.problems:
            print(f"{result.name}: {problem}", file=sys.stderr)
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        console = Console()
        console.width = max(console.width, TABLE_WIDTH)
        console.print(as_table([*report.classes, *report.sets]))


if __name__ == "__main__":
    sys.exit(main())
