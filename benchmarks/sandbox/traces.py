"""What sandboxes have on a host at one moment: a later look shows what was left behind.

Counted is what belongs to us: processes that we started, that name our directories or sit in our control groups;
mounts and files below our directories; network interfaces of the namespace we are in; our open descriptors.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.paths import Paths
from sandbox_runtime.vmm.cgroup import CONTROLLERS, ROOT

KEPT = frozenset(  # on purpose, for all that come later
    (
        "layers",
        "templates",
        "guest",
        "empty-disks",
        "starts.json",
        "starts.json.lock",
        "accel.json",
        "sandboxes.lock",
    )
)


class Traces(NamedTuple):
    """Everything that is there, by kind."""

    processes: frozenset[str]
    mounts: frozenset[str]
    interfaces: frozenset[str]
    files: frozenset[str]
    cgroups: frozenset[str]
    descriptors: int

    def since(self, before: Traces) -> list[str]:
        """What is there now and was not before, each with its kind."""
        found = []
        for kind in ("processes", "mounts", "interfaces", "files", "cgroups"):
            found += [f"{kind}: {name}" for name in sorted(getattr(self, kind) - getattr(before, kind))]
        if self.descriptors > before.descriptors:
            found.append(f"descriptors: {before.descriptors} -> {self.descriptors}")
        return found


def look(paths: Paths, group: str) -> Traces:
    """`group`: name of the control group that all of ours are below of."""
    folders = (str(paths.run), str(paths.cache))
    return Traces(
        frozenset(_processes(folders, group)),
        frozenset(
            line for line in Path("/proc/self/mounts").read_text().splitlines() if _names(line, folders)
        ),
        frozenset(name for _, name in socket.if_nameindex()),
        frozenset(_files(paths)),
        frozenset(_cgroups(group)),
        len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - as the kernel gives it
    )


def _names(text: str, folders: tuple[str, ...]) -> bool:
    return any(folder in text for folder in folders)


def _processes(folders: tuple[str, ...], group: str) -> Iterator[str]:
    me = str(os.getpid())
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or entry.name == me:
            continue
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            inside = f"/{group}" in (entry / "cgroup").read_text()
        except OSError:
            continue
        if parent == me or inside or _names(words, folders):
            yield f"{entry.name} {words[:120]}"


def _files(paths: Paths) -> Iterator[str]:
    for top in (paths.run, paths.cache):
        for folder, names, files in os.walk(top):
            if Path(folder) == top:
                names[:] = [name for name in names if name not in KEPT]
                files = [name for name in files if name not in KEPT]  # noqa: PLW2901
            yield from (f"{folder}/{name}" for name in (*names, *files))


def _cgroups(group: str) -> Iterator[str]:
    for root in (ROOT, *(ROOT / name for name in CONTROLLERS)):
        top = root / group
        if top.is_dir():
            yield from (str(folder) for folder, _, _ in os.walk(top))
