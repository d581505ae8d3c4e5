"""`bulkhead sandbox exec`: another process in a running container."""

from __future__ import annotations

import argparse
import os

from sandbox_runtime.command import places, streams
from sandbox_runtime.command.client import connect
from sandbox_runtime.errors import BadInput


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("exec", help="run another process in a running sandbox")
    places.add_options(parser)
    parser.add_argument("-i", "--interactive", action="store_true", help="pass stdin on")
    parser.add_argument("-t", "--tty", action="store_true", help="give it a terminal")
    parser.add_argument("-e", "--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("-w", "--workdir", default="")
    parser.add_argument("-u", "--user", default="", help="uid[:gid]")
    parser.add_argument("id")
    parser.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run it; returns its status."""
    argv = arguments.argv[1:] if arguments.argv[:1] == ["--"] else arguments.argv
    if not argv:
        raise BadInput("exec wants a command")
    if arguments.tty and not os.isatty(0):
        raise BadInput("--tty wants a terminal at stdin")
    rows, columns = streams.size() if arguments.tty else (0, 0)
    with connect(places.paths(arguments), arguments.id) as client:
        client.send(
            op="exec",
            argv=argv,
            env=arguments.env,
            cwd=arguments.workdir,
            user=arguments.user,
            tty=arguments.tty,
            stdin=arguments.interactive,
            rows=rows,
            columns=columns,
        )
        return streams.status(streams.Bridge(client, arguments.interactive, arguments.tty).run())
