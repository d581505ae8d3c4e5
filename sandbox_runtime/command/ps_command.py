"""`bulkhead sandbox ps`: what runs, and what has ended and was not removed."""

from __future__ import annotations

import argparse
import json
import time

from sandbox_runtime.command import places
from sandbox_runtime.command.listing import known
from sandbox_runtime.command.table import show
from sandbox_runtime.supervisor.order import plain


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("ps", help="list sandboxes")
    places.add_options(parser)
    parser.add_argument("-a", "--all", action="store_true", help="those that have ended, too")
    parser.add_argument("-q", "--quiet", action="store_true", help="ids alone")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """List them."""
    found = [each for each in known(places.paths(arguments)) if arguments.all or each.running]
    if arguments.json:
        rows = [
            {
                "id": each.id,
                "created_ns": each.order.created_ns,
                "spec": plain(each.order.spec),
                **each.outcome,
            }
            for each in found
        ]
        print(json.dumps(rows, indent=1))
    elif arguments.quiet:
        for each in found:
            print(each.id)
    else:
        show(
            ("ID", "IMAGE", "COMMAND", "AGE", "STATUS", "START", "ACCEL"),
            [
                (
                    each.id,
                    each.order.spec.containers[0].image.rpartition("/")[2],
                    " ".join(each.order.spec.containers[0].argv)[:40] or "(image's)",
                    _age(each.order.created_ns),
                    each.status,
                    {True: "restored", False: "booted"}.get(each.outcome.get("restored", 0), "-"),
                    str(each.outcome.get("accel", "-")),
                )
                for each in found
            ],
        )
    return 0


def _age(created_ns: int) -> str:
    seconds = max(0, (time.time_ns() - created_ns) // 10**9)
    for name, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{name}"
    return f"{seconds}s"
