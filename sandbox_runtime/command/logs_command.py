"""`bulkhead sandbox logs`: what a container has written, from its files; it need not run any more."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from sandbox_runtime.command import places
from sandbox_runtime.command.listing import one
from sandbox_runtime.lifecycle import journal, recover
from sandbox_runtime.supervisor import logs

LOOK_SECONDS = 0.1


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("logs", help="print what a container has written")
    places.add_options(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until it ends")
    parser.add_argument("-t", "--timestamps", action="store_true")
    parser.add_argument("id")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print them: stdout to stdout, stderr to stderr."""
    paths = places.paths(arguments)
    container = one(paths, arguments.id).order.spec.containers[0].id
    storage, directory = paths.storage(arguments.id), paths.sandbox(arguments.id)
    for when, stream, data in (
        _follow(storage, container, directory) if arguments.follow else logs.read(storage, container)
    ):
        target = sys.stderr if stream == "stderr" else sys.stdout
        target.buffer.write(f"{when} ".encode() + data if arguments.timestamps else data)
        target.buffer.flush() if arguments.follow else None
    sys.stdout.flush()
    return 0


def _follow(storage: Path, container: str, directory: Path) -> Iterator[tuple[str, str, bytes]]:
    """What is there, then what comes, over rotations, until the sandbox has ended or is gone."""
    yield from logs.read_older(storage, container)
    while True:
        try:
            file = logs.place(storage, container).open("rb")
        except FileNotFoundError:
            return
        with file:
            while True:
                over = recover.finished(directory) or not (directory / journal.ORDER).exists()
                yield from _whole_lines(file.fileno())
                if over:
                    return
                if _replaced(file.fileno(), logs.place(storage, container)):
                    yield from _whole_lines(file.fileno())
                    break
                time.sleep(LOOK_SECONDS)


def _whole_lines(fd: int) -> Iterator[tuple[str, str, bytes]]:
    """Lines that are there to their end; of one that is being written nothing is taken."""
    while data := os.read(fd, 1 << 20):
        end = data.rfind(b"\n") + 1
        if end < len(data):
            os.lseek(fd, end - len(data), os.SEEK_CUR)
        for line in data[:end].splitlines(keepends=True):
            yield logs.parse(line)
        if not end:
            return


def _replaced(fd: int, place: Path) -> bool:
    try:
        return place.stat().st_ino != os.fstat(fd).st_ino
    except FileNotFoundError:
        return True
