"""What an earlier run of ours left behind: found by what was written down before anything was executed, and ended."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.errors import JournalCorrupt, VmmFailed
from sandbox_runtime.paths import Paths
from sandbox_runtime.vmm import vm
from sandbox_runtime.vmm.processes import Process

RECORD = "vmm"
NONE = "-"
MAKER = "template-"  # directories of machines that were to become a template


class Leftover(NamedTuple):
    """A machine that somebody started; `process` is None where what was written down cannot be read.

    `template`: the key of the template whose memory it maps, empty where it was booted.
    """

    sandbox_id: str
    directory: Path
    process: Process | None
    uid: int
    template: str = ""

    @property
    def running(self) -> bool:
        """Whether its VMM still runs."""
        return self.process is not None and self.process.alive()


def record(directory: Path, process: Process, uid: int, template: str = "") -> None:
    """Write down a VMM, and the template that it maps; one rename, so that a reader sees all of it or nothing."""
    fresh = directory / f".{RECORD}"
    fresh.write_text(f"{process} {uid} {template or NONE}\n")
    fresh.replace(directory / RECORD)


def leftovers(paths: Paths) -> list[Leftover]:
    """All machines written down on this host, running or not, of whatever run."""
    return [_read(place) for place in sorted(paths.sandboxes.glob(f"*/{RECORD}"))]


def templates_in_use(paths: Paths) -> frozenset[str]:
    """Templates that a running machine maps: for `Templates.collect`."""
    return frozenset(found.template for found in leftovers(paths) if found.running and found.template)


def end(paths: Paths, leftover: Leftover) -> None:
    """End its VMM and remove what the machine left; the owner's files in its directory stay. VmmFailed if it stays."""
    if leftover.process is not None and not leftover.process.end():
        raise VmmFailed("recover", f"process {leftover.process.pid} does not end after SIGKILL")
    vm.remove(paths, leftover.sandbox_id, leftover.directory, leftover.uid)


def end_makers(paths: Paths, owner: int) -> None:
    """End the machines that process `owner` was making templates of."""
    for leftover in leftovers(paths):
        if leftover.sandbox_id.startswith(f"{MAKER}{owner}-"):
            end(paths, leftover)


def sweep_makers(paths: Paths) -> list[str]:
    """End template makers whose owner died: their VMMs died with it, their directories did not. Returns which."""
    swept = []
    for leftover in leftovers(paths):
        if leftover.sandbox_id.startswith(MAKER) and not leftover.running:
            end(paths, leftover)
            swept.append(leftover.sandbox_id)
    return swept


def _read(place: Path) -> Leftover:
    directory = place.parent
    try:
        *words, uid, template = place.read_text().split()
        known = "" if template == NONE else template
        return Leftover(directory.name, directory, Process.parse(" ".join(words)), int(uid), known)
    except (OSError, ValueError, JournalCorrupt):
        return Leftover(directory.name, directory, None, 0)
