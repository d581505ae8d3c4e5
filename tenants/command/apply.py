"""`bulkhead tenants apply`: make the cluster (or a directory of YAML) what the tenant files say.

Safe to interrupt and to repeat: the next run looks again and does what is left.
"""

from __future__ import annotations

import argparse
import sys

import msgspec

from tenants.command.check import BAD_INPUT, add_paths, tenants_from
from tenants.live.apply import Outcome, Step, apply
from tenants.live.directory import Directory
from tenants.live.options import add_guided, add_target, flag, target_of
from tenants.live.prepare import prepare
from tenants.plan import report
from tenants.plan.plan import Plan

REFUSED = 1


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "apply",
        help="make the cluster or a directory what the tenant files say",
        description="Server-side apply as field manager `bulkhead`: walls first, deletions last. Exit status: 0 done, "
        "1 something was refused, 2 bad input.",
    )
    add_paths(parser)
    add_target(parser, "--to")
    add_guided(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--format", default="text", choices=("text", "json"), help="json: one line for each step"
    )
    parser.add_argument(
        "--prune", type=flag, default=True, help="delete what is ours and stale (default: true)"
    )
    parser.add_argument("--force-conflicts", action="store_true", help="take over fields that others manage")
    parser.add_argument(
        "--delete-namespaces",
        action="store_true",
        help="delete stale namespaces even while they hold pods or volumes",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Plan, ask, do."""
    tenants = tenants_from(arguments.paths)
    if tenants is None:
        return BAD_INPUT
    target = target_of(arguments, tenants.pools)
    if isinstance(target, Directory):
        target.clean()
    prepared = prepare(
        target, tenants, prune=arguments.prune, force=arguments.force_conflicts, guided=arguments.guided
    )
    machine = arguments.format == "json"
    if not machine:
        sys.stdout.write(report.text(prepared.plan))
    if prepared.plan.empty:
        return _end(prepared.plan, [], machine=machine)
    if not arguments.yes and (asked := _ask()) is not None:
        return asked
    show = _as_json if machine else _as_line
    steps = []
    for step in apply(
        target, prepared, force=arguments.force_conflicts, delete_namespaces=arguments.delete_namespaces
    ):
        steps.append(step)
        show(step)
    return _end(prepared.plan, steps, machine=machine)


def _ask() -> int | None:
    """None = go on; otherwise the exit status."""
    if not sys.stdin.isatty():
        sys.stderr.write("bulkhead tenants apply: nobody is there to ask; add --yes\n")
        return BAD_INPUT
    sys.stdout.write("Apply? [y/N] ")
    sys.stdout.flush()
    return None if sys.stdin.readline().strip().lower() in {"y", "yes"} else REFUSED


def _as_json(step: Step) -> None:
    sys.stdout.write(msgspec.json.encode(step).decode() + "\n")
    sys.stdout.flush()


def _as_line(step: Step) -> None:
    sign = "!" if step.refused else " "
    sys.stdout.write(f"{sign} {step.outcome:9} {step.ref}{f': {step.detail}' if step.detail else ''}\n")
    sys.stdout.flush()


def _end(plan: Plan, steps: list[Step], *, machine: bool) -> int:
    refused = sum(step.refused for step in steps)
    counts = {outcome.value: sum(step.outcome is outcome for step in steps) for outcome in Outcome}
    if machine:
        sys.stdout.write(
            msgspec.json.encode({"target": plan.target, "done": not refused, **counts}).decode() + "\n"
        )
    elif steps:
        done = ", ".join(f"{number} {outcome}" for outcome, number in counts.items() if number)
        tail = "; nothing was deleted or recorded, fix this and apply again" if counts["conflict"] else ""
        sys.stdout.write(f"\n{done}{tail}\n")
    return REFUSED if refused else 0
