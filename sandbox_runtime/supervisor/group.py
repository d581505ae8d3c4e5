"""The control group of a sandbox: made, entered by the supervisor, left again before it is removed."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from sandbox_runtime.model import MIB, Accel, AccelKind, SandboxSpec
from sandbox_runtime.vmm.cgroup import Cgroup
from sandbox_runtime.vmm.sizing import VMM_KVM, VMM_TCG, Size

SUPERVISOR = 32 * MIB  # this process, virtiofsd, and the page cache of what they have in their hands


def memory_limit(size: Size, accel: Accel, spec: SandboxSpec) -> int:
    """What the whole sandbox may take: guest memory and overhead, as declared or as measured."""
    if spec.overhead_bytes and spec.limits.memory_bytes:
        return spec.limits.memory_bytes + spec.overhead_bytes
    return size.usable_bytes + (VMM_KVM if accel.kind is AccelKind.KVM else VMM_TCG) + SUPERVISOR


def enter(group: Cgroup, memory_bytes: int) -> list[str]:
    """Make it and go in; returns where we were, one path for each of its hierarchies. HostUnfit, OSError."""
    group.create(memory_bytes)
    before = [_mine(group, directory) for directory in group.directories()]
    for file in group.join_files():
        file.write_text("0")
    return before


def leave(group: Cgroup, homes: list[str]) -> None:
    """Go back to where we were, or to the root of the hierarchy where that is gone."""
    for directory, home in zip(group.directories(), homes, strict=False):
        root = group.root if group.unified else group.root / directory.relative_to(group.root).parts[0]
        for place in (root / home.lstrip("/"), root):
            with suppress(OSError):
                (place / "cgroup.procs").write_text(str(os.getpid()))
                break


def limit_cpu(group: Cgroup, cpu_milli: int) -> None:
    """From now on; the start of a sandbox is not slowed down."""
    if group.path and cpu_milli:
        group.create(cpu_milli=cpu_milli)


def out_of_memory(group: Cgroup) -> bool:
    """Whether the host's kernel has killed something in it for memory."""
    for directory in group.directories():
        for name in ("memory.events", "memory.oom_control"):
            with suppress(OSError):
                for line in (directory / name).read_text().splitlines():
                    if line.startswith("oom_kill ") and line.split()[1] != "0":
                        return True
    return False


def _mine(group: Cgroup, directory: Path) -> str:
    """Our group in the hierarchy of `directory`: /proc/self/cgroup has `number:controllers:path` lines."""
    controller = "" if group.unified else directory.relative_to(group.root).parts[0]
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    return "/"
