"""`bulkhead sandbox wait`: wait for the end of a container and print its status."""

from __future__ import annotations

import argparse

from sandbox_runtime.command import places
from sandbox_runtime.command.client import Gone, ask
from sandbox_runtime.command.listing import one


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("wait", help="wait for the end of a container, print its status")
    places.add_options(parser)
    parser.add_argument("id")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Wait, print."""
    paths = places.paths(arguments)
    try:
        found = ask(paths, arguments.id, op="wait")
    except Gone:
        found = one(paths, arguments.id).outcome
    print(found.get("code"))
    return 0
