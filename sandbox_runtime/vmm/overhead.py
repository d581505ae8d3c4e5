"""What a sandbox costs beyond what its containers use: the one definition, measured on the processes as they are.

Every page is counted as the kernel does in proportional sizes (PSS, proc_pid_smaps(5)): a page that several processes
map counts a part in each, so the sum over all sandboxes of a node is what they take together.

- QEMU, supervisor, virtiofsds: everything that they map. Code that an emulator has translated is told apart: there is
  none under KVM.
- guest kernel and agent: guest memory that the host really holds, without what the guest's cgroups charge to
  containers (their page cache is theirs; the page cache of agent and crun is overhead).
- of this, pages that the guest has not written since it was restored are still the template's. The node keeps the
  template's memory once per class in a control group of its own, whether a sandbox runs or not; they are counted
  here too, in proportion, and told apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.vmm.memory import NAME
from sandbox_runtime.vmm.vm import Vm

MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+\s*(.*)$")
TRANSLATED = "rwxp"  # nothing else in QEMU is both written and executed


class Overhead(NamedTuple):
    """Bytes that one sandbox takes now, in proportional sizes.

    Attributes:
        vmm_bytes: QEMU without the next two.
        translated_bytes: code that the emulator has made; 0 under KVM.
        helper_bytes: supervisor, virtiofsd and other processes of the sandbox.
        guest_private_bytes: guest memory that is this sandbox's alone: kernel, agent, containers.
        guest_template_bytes: guest memory that is still the template's.
        container_bytes: what containers use of it, as the guest reports.
        accel: what executed the guest.
    """

    vmm_bytes: int
    translated_bytes: int
    helper_bytes: int
    guest_private_bytes: int
    guest_template_bytes: int
    container_bytes: int
    accel: str

    @property
    def guest_bytes(self) -> int:
        """Kernel and agent, the template's pages included."""
        return max(0, self.guest_private_bytes + self.guest_template_bytes - self.container_bytes)

    @property
    def total_bytes(self) -> int:
        """All that is not the containers': what a RuntimeClass must declare at least."""
        return self.vmm_bytes + self.translated_bytes + self.helper_bytes + self.guest_bytes

    @property
    def further_bytes(self) -> int:
        """What one more sandbox of a class adds to a node that has the class's template."""
        return self.total_bytes - min(self.guest_template_bytes, self.guest_bytes)


class Mapping(NamedTuple):
    """One mapping of a process: size, access, file, and the bytes that are there, all of them and those of no file.

    `undumped`: kept out of core dumps, as of all that QEMU writes to only the guest's memory is (`devices`).
    """

    size_bytes: int
    access: str
    file: str
    pss_bytes: int
    anonymous_bytes: int
    undumped: bool = False

    @property
    def of_guest(self) -> bool:
        """Whether it is guest memory, where this is a mapping of QEMU."""
        return self.undumped and self.access.startswith("rw")


def overhead(vm: Vm, helpers: Iterable[int] = (), container_bytes: int = 0) -> Overhead:
    """Measure `vm` and the processes `helpers` now. A process that has just ended counts nothing."""
    found = [mapping for pid in vm.pids for mapping in mappings(_smaps(pid))]
    guest = [each for each in found if each.of_guest]
    translated = sum(each.pss_bytes for each in found if each.access == TRANSLATED)
    held = sum(each.pss_bytes for each in guest)
    shared = sum(each.pss_bytes - each.anonymous_bytes for each in guest if NAME in each.file)
    return Overhead(
        sum(each.pss_bytes for each in found) - held - translated,
        translated,
        sum(pss(pid) for pid in helpers),
        held - shared,
        shared,
        container_bytes,
        vm.accel.kind,
    )


def pss(pid: int) -> int:
    """Proportional size of a process in bytes; 0 where it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0)


def mappings(smaps: str) -> Iterator[Mapping]:
    """What a text of /proc/PID/smaps says of each mapping."""
    now: Mapping | None = None
    for line in smaps.splitlines():
        bounds = MAPPING.match(line)
        if bounds:
            if now:
                yield now
            now = Mapping(int(bounds[2], 16) - int(bounds[1], 16), bounds[3], bounds[4], 0, 0)
        elif now and line.startswith("Pss:"):
            now = now._replace(pss_bytes=int(line.split()[1]) * 1024)
        elif now and line.startswith("Anonymous:"):
            now = now._replace(anonymous_bytes=int(line.split()[1]) * 1024)
        elif now and line.startswith("VmFlags:"):
            now = now._replace(undumped="dd" in line.split())  # proc_pid_smaps(5)
    if now:
        yield now


def _smaps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/smaps").read_text()
    except OSError:
        return ""
