"""`bulkhead sandbox attach`: join the container's own streams; Ctrl-P Ctrl-Q leaves them again."""

from __future__ import annotations

import argparse
import os

from sandbox_runtime.command import places, streams
from sandbox_runtime.command.client import connect
from sandbox_runtime.errors import SandboxError
from sandbox_runtime.supervisor import order as orders


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "attach", help="join the streams of a container; what was written before is in its log"
    )
    places.add_options(parser)
    parser.add_argument("--no-stdin", action="store_true", help="only listen")
    parser.add_argument("id")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Attach; returns the container's status."""
    paths = places.paths(arguments)
    container = orders.read(paths.sandbox(arguments.id)).spec.containers[0]
    terminal = container.tty and os.isatty(0)
    with connect(paths, arguments.id) as client:
        client.send(op="attach")
        found = streams.Bridge(
            client, container.stdin and not arguments.no_stdin, terminal, detachable=True
        ).run()
    if "exit" not in found and found.get("code") is not None:
        raise SandboxError(f"the container has ended with {found['code']}")
    return streams.status(found)
