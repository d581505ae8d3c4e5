"""After a crash of ours: finds every sandbox whose supervisor is dead, ends what is left of it, and cleans up.

Each supervisor has a reaper (`supervisor.reaper`) that does this at once, for the one it watches; whatever command
runs next does it for all, in case that was killed too. Nothing is adopted: QEMU and virtiofsd die with their supervisor
(PR_SET_PDEATHSIG), so what is found here is files, groups and, at most, a process on its way out. The end of a
container whose end nobody saw is never a success.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from sandbox_runtime.errors import JournalCorrupt, SandboxError
from sandbox_runtime.lifecycle import journal
from sandbox_runtime.lifecycle.journal import Thing
from sandbox_runtime.lifecycle.state import UNKNOWN, Phase
from sandbox_runtime.paths import Paths
from sandbox_runtime.rootfs.cache import LayerCache
from sandbox_runtime.vmm import recover as machines
from sandbox_runtime.vmm import users
from sandbox_runtime.vmm.cgroup import Cgroup
from sandbox_runtime.vmm.processes import Process, alive

REAPING_SECONDS = 5.0  # what its reaper needs at most


def recover(paths: Paths) -> list[str]:
    """Clean up after every dead supervisor. Returns the ids of those whose container was still thought to run."""
    places = [path for path in paths.sandboxes.glob("[!.]*") if not path.name.startswith(machines.MAKER)]
    found = [path.name for path in sorted(places) if _recovered(paths, path)]
    machines.sweep_makers(paths)
    orphans(paths)
    return found


def one(paths: Paths, sandbox_id: str, owner: int) -> bool:
    """Clean up after the supervisor `owner` that has just died; False while somebody else is at it, or still dies."""
    directory = paths.sandboxes / sandbox_id
    if directory.is_dir() and not over(directory):
        _recovered(paths, directory)
    machines.end_makers(paths, owner)
    for half in paths.templates.glob(f".making-*-{owner}"):
        shutil.rmtree(half, ignore_errors=True)
    return not directory.is_dir() or over(directory)


def over(directory: Path) -> bool:
    """Whether nothing of a sandbox runs or has to be cleaned up."""
    return finished(directory) and not (directory / machines.RECORD).exists()


def _recovered(paths: Paths, directory: Path) -> bool:
    if over(directory):
        return False
    lock = await_lock(paths, directory)
    if lock is None:
        return False
    try:
        clean(paths, directory.name)
        if finished(directory):
            return False
        if journal.to_be_removed(directory):
            remove(paths, directory.name)
            return True
        journal.write_outcome(
            directory,
            journal.read_outcome(directory)
            | {"phase": Phase.STOPPED, "code": UNKNOWN, "reason": "supervisor-died"},
        )
        return True
    finally:
        os.close(lock)


def await_lock(paths: Paths, directory: Path) -> int | None:
    """The ownership of a sandbox whose supervisor is dead, when its reaper is done with it; None where one lives."""
    deadline = time.monotonic() + REAPING_SECONDS
    while True:
        lock = journal.take(paths, directory)
        if lock is not None or _lives(directory) or time.monotonic() > deadline:
            return lock
        time.sleep(0.01)


def _lives(directory: Path) -> bool:
    """Whether a supervisor is there that may hold the lock, or nothing to be locked."""
    pid = journal.read_outcome(directory).get("pid")
    return not isinstance(pid, int) or alive(pid) or not directory.is_dir()


def finished(directory: Path) -> bool:
    """Whether the supervisor of a sandbox gave everything back and said so."""
    return bool(journal.read_outcome(directory).get("phase") == Phase.STOPPED)


def clean(paths: Paths, sandbox_id: str) -> None:
    """End and remove all that a sandbox has outside; its order, outcome and logs stay. Safe to repeat."""
    directory = paths.sandboxes / sandbox_id
    for leftover in machines.leftovers(paths):
        if leftover.sandbox_id == sandbox_id:
            machines.end(paths, leftover)
    for thing in reversed(journal.things(directory)):
        _undo(thing)
    drop_storage(paths, sandbox_id)
    users.forget(paths, sandbox_id)
    (directory / journal.CONTROL).unlink(missing_ok=True)


def remove(paths: Paths, sandbox_id: str) -> None:
    """Remove the last of a sandbox: what was asked, how it ended, what it said."""
    shutil.rmtree(paths.storage(sandbox_id), ignore_errors=True)
    with journal.everyone(paths):
        shutil.rmtree(paths.sandboxes / sandbox_id, ignore_errors=True)


def forget(paths: Paths, sandbox_id: str) -> None:
    """Remove all of a sandbox whose supervisor has ended, whoever else cleans up after it now."""
    directory = paths.sandboxes / sandbox_id
    lock = await_lock(paths, directory)
    try:
        clean(paths, sandbox_id)
        remove(paths, sandbox_id)
    finally:
        if lock is not None:
            os.close(lock)


def drop_storage(paths: Paths, sandbox_id: str) -> None:
    """Remove its private disks and its references to layers; both are known by its name alone. Logs stay."""
    for image in paths.storage(sandbox_id).glob("*.ext4"):
        image.unlink(missing_ok=True)
    if paths.layers.is_dir():
        LayerCache(paths.layers).release(sandbox_id)


def _undo(thing: Thing) -> None:
    match thing.kind:
        case "process":
            _end(thing.name)
        case "cgroup":
            empty(Cgroup(thing.name))
        case "socket":
            Path(thing.name).unlink(missing_ok=True)
        case _:
            pass  # a tap goes with whoever holds it; what a newer version writes down, it undoes


def _end(text: str) -> None:
    try:
        process = Process.parse(text)
    except JournalCorrupt:
        return
    if not process.end():
        raise SandboxError(f"process {process.pid} does not end after SIGKILL")


def empty(group: Cgroup) -> None:
    """End whoever is still in a group of ours, and remove it."""
    for pid in group.processes() - {os.getpid()}:
        try:
            Process.of(pid).end()
        except (ProcessLookupError, OSError):
            continue
    group.remove()


def orphans(paths: Paths) -> list[str]:
    """Remove disks and layer references of sandboxes that no longer exist: a power cut leaves them. Returns whose."""
    removed = []
    with journal.everyone(paths):
        alive = {path.name for path in paths.sandboxes.glob("*")}
        for directory in sorted(paths.stores.glob("*")):
            if directory.name not in alive:
                shutil.rmtree(directory, ignore_errors=True)
                removed.append(directory.name)
        for reference in paths.layers.glob("references/*/*"):
            if reference.name not in alive:
                reference.unlink(missing_ok=True)
    return removed
