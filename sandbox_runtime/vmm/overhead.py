"""What a sandbox costs beyond what its containers use: measured on the processes as they are, in proportional sizes.

PSS shares every page out among the processes that map it (proc_pid_smaps(5)), so the sum over all sandboxes of a host
is what they take together. The guest's memory stands in QEMU's numbers too and is told apart by its mapping.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.vmm.vm import Vm

MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) ")


class Overhead(NamedTuple):
    """Bytes that one sandbox takes now.

    Attributes:
        vmm_bytes: QEMU without the guest's memory.
        helper_bytes: supervisor, virtiofsd and other processes of the sandbox.
        guest_resident_bytes: guest memory that the host really holds: kernel, agent and containers.
        container_bytes: what containers use of it, as the guest reports.
        accel: what executed the guest; an emulator's translated code is part of `vmm_bytes`.
    """

    vmm_bytes: int
    helper_bytes: int
    guest_resident_bytes: int
    container_bytes: int
    accel: str

    @property
    def total_bytes(self) -> int:
        """All that is not the containers': what a RuntimeClass must declare at least."""
        guest = max(0, self.guest_resident_bytes - self.container_bytes)
        return self.vmm_bytes + self.helper_bytes + guest


def overhead(vm: Vm, helpers: Iterable[int] = (), container_bytes: int = 0) -> Overhead:
    """Measure `vm` and the processes `helpers` now. A process that has just ended counts nothing."""
    all_of_qemu, guest = 0, 0
    for pid in vm.pids:
        all_of_qemu += pss(pid)
        guest += _mapped_pss(pid, vm.memory_bytes)
    helper_bytes = sum(pss(pid) for pid in helpers)
    return Overhead(all_of_qemu - guest, helper_bytes, guest, container_bytes, vm.accel.kind)


def pss(pid: int) -> int:
    """Proportional size of a process in bytes; 0 where it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0)


def _mapped_pss(pid: int, size_bytes: int) -> int:
    """Proportional size of the one mapping of exactly `size_bytes`: the guest's memory, file or anonymous."""
    try:
        lines = Path(f"/proc/{pid}/smaps").read_text().splitlines()
    except OSError:
        return 0
    inside = False
    for line in lines:
        bounds = MAPPING.match(line)
        if bounds:
            inside = int(bounds[2], 16) - int(bounds[1], 16) == size_bytes
        elif inside and line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
