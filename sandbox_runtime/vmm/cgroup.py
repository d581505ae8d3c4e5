"""The control group of a pod, on either hierarchy: joined before QEMU runs, asked for its limit, removed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.errors import BadInput, HostUnfit

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "cpu", "cpuacct", "pids", "blkio", "freezer", "cpuset")  # v1: each a tree of its own
NO_LIMIT = 1 << 60  # v1 says "none" by a number near 2^63
CPU_PERIOD_US = 100_000
EMPTYING_SECONDS = 5.0


class Cgroup(NamedTuple):
    """A group by its `path` below the root of each hierarchy; an empty path is no group at all.

    Attributes:
        path: relative, without `..`.
        root: where the hierarchies are mounted.
    """

    path: str
    root: Path = ROOT

    @property
    def unified(self) -> bool:
        """Whether this host has the one hierarchy of v2."""
        return (self.root / "cgroup.controllers").exists()

    def directories(self) -> list[Path]:
        """Where this group is, one per hierarchy; not all need exist."""
        if not self.path:
            return []
        relative = self.path.strip("/")
        if ".." in relative.split("/"):
            raise BadInput(f"cgroup path {self.path!r} leaves its hierarchy")
        if self.unified:
            return [self.root / relative]
        roots = [self.root / name for name in CONTROLLERS if (self.root / name).is_dir()]
        return [root / relative for root in roots]

    def create(self, memory_bytes: int = 0, cpu_milli: int = 0) -> None:
        """Make it where it is missing, with these limits (0: none). HostUnfit where this user may not."""
        try:
            for directory in self.directories():
                if self.unified:
                    _delegate(self.root, directory)
                for level in self._levels(directory):
                    level.mkdir(exist_ok=True)
                    _inherit_cpuset(level)
            for name, value in self._settings(memory_bytes, cpu_milli).items():
                for directory in self.directories():
                    if (directory / name).exists():
                        (directory / name).write_text(value)
        except OSError as error:
            raise HostUnfit(
                f"cgroup {self.path} cannot be made", str(error), "run as root, or name a delegated cgroup"
            ) from error

    def join_files(self) -> list[Path]:
        """Writing "0" to each puts the writer in."""
        return [directory / "cgroup.procs" for directory in self.directories() if directory.is_dir()]

    def memory_limit(self) -> int:
        """The smallest limit from here to the root in bytes; 0 where there is none."""
        limits = []
        for directory in self.directories():
            for level in (directory, *directory.parents):
                if level == self.root:
                    break
                limits += [_limit(level / "memory.max"), _limit(level / "memory.limit_in_bytes")]
        return min((limit for limit in limits if limit), default=0)

    def processes(self) -> set[int]:
        """Who is in it now."""
        found: set[int] = set()
        for directory in self.directories():
            try:
                found |= {int(line) for line in (directory / "cgroup.procs").read_text().split()}
            except OSError:
                continue  # gone already
        return found

    def remove(self) -> bool:
        """Remove it, waiting for dead processes to leave; False where somebody stays in it."""
        deadline = time.monotonic() + EMPTYING_SECONDS
        left = self.directories()
        while left:
            left = [directory for directory in left if not _removed(directory)]
            if left and time.monotonic() > deadline:
                return False
            if left:
                time.sleep(0.005)
        return True

    def _levels(self, directory: Path) -> list[Path]:
        """From the top of a hierarchy down to `directory`, which is as deep as the path has parts."""
        depth = len(Path(self.path.strip("/")).parts)
        return [directory, *directory.parents][:depth][::-1]

    def _settings(self, memory_bytes: int, cpu_milli: int) -> dict[str, str]:
        settings = {}
        if memory_bytes:
            settings["memory.max" if self.unified else "memory.limit_in_bytes"] = str(memory_bytes)
        if cpu_milli:
            quota = str(max(1_000, cpu_milli * CPU_PERIOD_US // 1000))
            settings["cpu.max" if self.unified else "cpu.cfs_quota_us"] = (
                f"{quota} {CPU_PERIOD_US}" if self.unified else quota
            )
        return settings


def _delegate(root: Path, directory: Path) -> None:
    """Enable what we use from the root down; a controller that is not there is not missed."""
    for level in reversed(
        [parent for parent in directory.parents if parent == root or root in parent.parents]
    ):
        level.mkdir(exist_ok=True)
        for name in ("memory", "cpu", "pids", "io"):
            try:
                (level / "cgroup.subtree_control").write_text(f"+{name}")
            except OSError:
                continue


def _inherit_cpuset(directory: Path) -> None:
    """A new v1 cpuset is empty and takes nobody in before it has CPUs and memory nodes."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        mine, above = directory / name, directory.parent / name
        if mine.exists() and not mine.read_text().strip() and above.exists():
            mine.write_text(above.read_text())


def _limit(file: Path) -> int:
    try:
        text = file.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() and int(text) < NO_LIMIT else 0


def _removed(directory: Path) -> bool:
    try:
        os.rmdir(directory)  # noqa: PTH106 - a cgroup's directory is removed with its files in it
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
