"""`bulkhead sandbox kill`: send a signal to a container."""

from __future__ import annotations

import argparse
import signal

from sandbox_runtime.command import places
from sandbox_runtime.command.client import ask
from sandbox_runtime.errors import BadInput, SandboxError


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("kill", help="send a signal to a container's first process")
    places.add_options(parser)
    parser.add_argument("-s", "--signal", default="KILL", help="name or number")
    parser.add_argument("--all", action="store_true", help="to every process of the container")
    parser.add_argument("id")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Send it."""
    answer = ask(
        places.paths(arguments), arguments.id, op="kill", signal=number(arguments.signal), all=arguments.all
    )
    if "error" in answer:
        raise SandboxError(str(answer["error"]))
    return 0


def number(text: str) -> int:
    """A signal by name or number. Raises BadInput."""
    if text.isdecimal():
        return int(text)
    try:
        return signal.Signals[f"SIG{text.upper().removeprefix('SIG')}"]
    except KeyError:
        raise BadInput(f"there is no signal {text!r}") from None
