"""`bulkhead tenants plan`: what an apply would do, told as effects. Exit status as `kubectl diff`: 0, 1, 2."""

from __future__ import annotations

import argparse
import sys

from tenants.command.check import BAD_INPUT, add_paths, tenants_from
from tenants.live.options import add_guided, add_target, flag, target_of
from tenants.live.prepare import prepare
from tenants.plan import report

DIFFERENT = 1
FORMATS = {"text": report.text, "json": report.as_json, "markdown": report.markdown}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "plan",
        help="show what an apply would change, and for whom",
        description="Compares the tenant files with what is live. Exit status: 0 nothing changes, 1 something "
        "changes or the target can't be read, 2 bad input.",
    )
    add_paths(parser)
    add_target(parser, "--against", "--to")
    add_guided(parser)
    parser.add_argument("--format", default="text", choices=FORMATS, help="markdown for pull requests")
    parser.add_argument(
        "--prune", type=flag, default=True, help="also delete what is ours and stale (default: true)"
    )
    parser.add_argument(
        "--force-conflicts", action="store_true", help="plan as apply --force-conflicts would do"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the plan."""
    tenants = tenants_from(arguments.paths)
    if tenants is None:
        return BAD_INPUT
    target = target_of(arguments, tenants.pools)
    prepared = prepare(
        target, tenants, prune=arguments.prune, force=arguments.force_conflicts, guided=arguments.guided
    )
    sys.stdout.write(FORMATS[arguments.format](prepared.plan))
    return 0 if prepared.plan.empty else DIFFERENT
