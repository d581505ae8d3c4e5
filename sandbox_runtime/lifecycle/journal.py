"""What is written down about a sandbox, so that whoever comes later finds all of it.

<run>/sandboxes/<id>/lock      held (flock) as long as its supervisor lives; the kernel drops it when that dies
<run>/sandboxes/<id>/order     what was asked for (JSON)
<run>/sandboxes/<id>/journal   one JSON line for each thing outside, written before it is made
<run>/sandboxes/<id>/outcome   how it stands: phase, exit, timings; replaced by rename
<run>/sandboxes/<id>/vmm       QEMU (`vmm.recover`)

Things of the journal: `process` (pid, start time, boot id), `cgroup` (path), `tap` (name), `socket` (path). Private
disks and references to layers need no line, as they are found by the sandbox's id. Nothing here needs fsync: after a
power cut no process, group, tap or socket is left, and the disks and references that are left belong to nobody
(`recover.orphans`).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sandbox_runtime.errors import BadInput
from sandbox_runtime.paths import Paths

LOCK, ORDER, JOURNAL, OUTCOME, CONTROL = "lock", "order", "journal", "outcome", "control.sock"
SECRET = 0o600


class Thing(NamedTuple):
    """One line of the journal."""

    kind: str
    name: str


class Journal:
    """The journal of one sandbox, open for writing."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / JOURNAL

    def note(self, kind: str, name: str) -> None:
        """Write down a thing that is about to be made. One write, so that a reader sees whole lines."""
        line = json.dumps([kind, name]).encode() + b"\n"
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, SECRET)
        try:
            os.write(fd, line)
        finally:
            os.close(fd)


def things(directory: Path) -> list[Thing]:
    """All that was written down, in order; what cannot be read, such as a line cut off by a full disk, is left out."""
    try:
        text = (directory / JOURNAL).read_text(errors="replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            kind, name = json.loads(line)
            found.append(Thing(str(kind), str(name)))
        except (ValueError, TypeError):
            continue
    return found


def write_outcome(directory: Path, outcome: dict[str, Any]) -> None:
    """Replace what is known of how it stands."""
    fresh = directory / f".{OUTCOME}"
    fresh.write_text(json.dumps(outcome))
    fresh.replace(directory / OUTCOME)


def read_outcome(directory: Path) -> dict[str, Any]:
    """What is known; empty where nothing is."""
    try:
        found = json.loads((directory / OUTCOME).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def to_be_removed(directory: Path) -> bool:
    """Whether nothing is to be kept of this sandbox once it has ended, by its order."""
    try:
        found = json.loads((directory / ORDER).read_text())
    except (OSError, ValueError):
        return True  # it was never told what to be
    return not isinstance(found, dict) or bool(found.get("remove"))


# --- who owns a sandbox ---------------------------------------------------------------------------------------


def claim(paths: Paths, sandbox_id: str) -> int:
    """Make the directory of a new sandbox and take its lock; the descriptor is its ownership. BadInput if it exists."""
    directory = paths.sandbox(sandbox_id)
    with everyone(paths):
        try:
            directory.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            raise BadInput(f"there is a sandbox {sandbox_id} already") from None
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, SECRET)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return lock


def take(paths: Paths, directory: Path) -> int | None:
    """The ownership of a sandbox whose owner is dead; None while the owner lives, or where nothing is left."""
    with everyone(paths):
        try:
            lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, SECRET)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock


@contextmanager
def everyone(paths: Paths) -> Iterator[None]:
    """Nobody else makes, judges or removes a sandbox meanwhile."""
    paths.sandboxes.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(paths.run / "sandboxes.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, SECRET)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
