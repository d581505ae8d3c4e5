"""`python -m benchmarks.checker EVENTS.jsonl`: 0 every decision holds, 1 some do not, 2 the file cannot be read."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from benchmarks.checker.verify import Report, Unreadable, verify

SHOWN = 50


def main(argv: list[str]) -> int:
    """Check one file and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checker", description=__doc__)
    parser.add_argument("events", type=Path, help="event file of `bulkhead replay --events`")
    parser.add_argument("--json", action="store_true", help="print the result for machines")
    arguments = parser.parse_args(argv)
    try:
        report = verify(arguments.events)
    except Unreadable as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.json:
        print(msgspec.json.encode(report).decode())
    else:
        print(as_text(arguments.events, report))
    return 1 if report.violations else 0


def as_text(path: Path, report: Report) -> str:
    """Violations with their line, then the totals."""
    found = [f"{path}:{one.line}: {one.kind}: {one.what}" for one in report.shown[:SHOWN]]
    if report.violations > len(found):
        found.append(f"… and {report.violations - len(found):,} more: {report.by_kind}")
    found.append(
        f"{report.lines:,} lines, {report.runs} run(s), {report.placed:,} placed, {report.refused:,} refused: "
        f"{report.violations:,} violations"
    )
    return "\n".join(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
