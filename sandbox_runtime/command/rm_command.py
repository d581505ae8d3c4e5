"""`bulkhead sandbox rm`: remove sandboxes that have ended, and with --force those that run."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import suppress

from sandbox_runtime.command import places
from sandbox_runtime.command.client import Gone, ask
from sandbox_runtime.errors import SandboxError
from sandbox_runtime.lifecycle import journal, recover
from sandbox_runtime.lifecycle.state import Phase
from sandbox_runtime.paths import Paths


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("rm", help="remove sandboxes and their logs")
    places.add_options(parser)
    parser.add_argument(
        "-f", "--force", action="store_true", help="end those that run; one that is not there is fine"
    )
    parser.add_argument("id", nargs="+")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Remove them; 1 where one could not be."""
    paths, failed = places.paths(arguments), 0
    recover.recover(paths)
    for sandbox_id in arguments.id:
        why = _remove(paths, sandbox_id, arguments.force)
        if why:
            print(f"bulkhead sandbox: {sandbox_id}: {why}", file=sys.stderr)
            failed = 1
    return failed


def force(paths: Paths, sandbox_id: str) -> None:
    """End and remove one, whatever it does. Raises SandboxError."""
    why = _remove(paths, sandbox_id, True)
    if why:
        raise SandboxError(f"{sandbox_id}: {why}")


def _remove(paths: Paths, sandbox_id: str, by_force: bool) -> str:
    """Why not, or nothing."""
    directory = paths.sandbox(sandbox_id)
    if not directory.is_dir():
        return "" if by_force else "there is no such sandbox"
    lock = journal.take(paths, directory)
    if lock is None and journal.read_outcome(directory).get("phase") in (Phase.STOPPING, Phase.STOPPED):
        lock = _await_lock(paths, sandbox_id)
    if lock is None and not by_force:
        return "it runs; stop it, or use --force"
    if lock is None:
        with suppress(Gone):
            ask(paths, sandbox_id, op="stop", now=True)
        lock = _await_lock(paths, sandbox_id)
    if lock is None:
        return "" if not directory.is_dir() else "its supervisor does not end"
    try:
        recover.clean(paths, sandbox_id)
        recover.remove(paths, sandbox_id)
    except SandboxError as error:
        return str(error)
    finally:
        os.close(lock)
    return ""


def _await_lock(paths: Paths, sandbox_id: str) -> int | None:
    """The supervisor has said good-bye; it drops its lock by ending, a moment later."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and paths.sandbox(sandbox_id).is_dir():
        lock = journal.take(paths, paths.sandbox(sandbox_id))
        if lock is not None:
            return lock
        time.sleep(0.01)
    return None
