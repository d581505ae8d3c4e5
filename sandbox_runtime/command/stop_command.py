"""`bulkhead sandbox stop`: end sandboxes in order: SIGTERM, ten seconds, SIGKILL."""

from __future__ import annotations

import argparse

from sandbox_runtime.command import places
from sandbox_runtime.command.client import ask


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("stop", help="end sandboxes in order")
    places.add_options(parser)
    parser.add_argument("id", nargs="+")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Stop them; returns when all is given back."""
    paths = places.paths(arguments)
    for sandbox_id in arguments.id:
        ask(paths, sandbox_id, op="stop")
    return 0
