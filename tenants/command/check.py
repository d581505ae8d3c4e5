"""`bulkhead tenants check`: every problem of the tenant files at once, or a line that says there is none.

The other commands read their tenant files with `tenants_from`, so that a broken file looks the same
everywhere.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from tenants.files import load, report
from tenants.files.problem import Problem
from tenants.model import TenantSet

BAD_INPUT = 2
FORMATS = ("text", "json", "sarif")


def add_paths(parser: argparse.ArgumentParser) -> None:
    """Declare the PATH arguments, as every command that reads tenant files takes them."""
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        default=[Path("tenants")],
        metavar="PATH",
        help="tenant file, or directory of *.yaml and *.yml at any depth (default: ./tenants)",
    )


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "check",
        help="report every problem of the tenant files",
        description="Reads all files as one set and reports everything that is wrong. Exit status: 0 none, 2 some.",
    )
    add_paths(parser)
    parser.add_argument(
        "--format", default="text", choices=FORMATS, help="json for scripts, sarif for code scanning"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check; 0 no problem, 2 at least one."""
    sources = load.read(arguments.paths)
    found = load.parse(sources.texts, sources.unreadable)
    sys.stdout.write(_rendered(found, sources, arguments.format))
    return 0 if isinstance(found, TenantSet) else BAD_INPUT


def tenants_from(paths: list[Path]) -> TenantSet | None:
    """The tenants of `paths`; None when a file is broken, after stderr said why (the caller returns 2)."""
    sources = load.read(paths)
    found = load.parse(sources.texts, sources.unreadable)
    if isinstance(found, TenantSet):
        return found
    colour = may_colour(sys.stderr, os.environ)
    sys.stderr.write(report.text(found, sources.texts, colour=colour) + report.summary(found, sources) + "\n")
    return None


def may_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Colour on a terminal only, and never where NO_COLOR is set (no-color.org) or the terminal is dumb."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def _rendered(found: TenantSet | list[Problem], sources: load.Sources, form: str) -> str:
    problems = found if isinstance(found, list) else []
    if form == "json":
        return report.as_json(problems, sources) + "\n"
    if form == "sarif":
        return report.sarif(problems) + "\n"
    colour = may_colour(sys.stdout, os.environ)
    return report.text(problems, sources.texts, colour=colour) + report.summary(found, sources) + "\n"
