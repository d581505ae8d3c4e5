"""The facts of this host that a machine depends on: which QEMU, how fast the clock, where KVM's group is."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.model import Accel, AccelKind

PROGRAM = "qemu-system-x86_64"
MHZ = re.compile(r"^cpu MHz\s*:\s*([0-9.]+)", re.MULTILINE)

SAME = re.compile(r"vendor_id|cpu family|model|stepping|microcode|flags|bugs|address sizes")


class Host(NamedTuple):
    """What `start` must know of the host.

    Attributes:
        qemu: the program.
        build: names this very file: another size or time of change is another build.
        cpu: names the CPU as guests on KVM see it.
        tsc_khz: rate of the time stamp counter; 0 where it is not known.
        kvm_group: who may open /dev/kvm.
        root: whether users, namespaces and control groups can be given to a VM.
    """

    qemu: Path
    build: str
    cpu: str
    tsc_khz: int
    kvm_group: int
    root: bool


def this_host(qemu: str = PROGRAM) -> Host:
    """The host as it is. HostUnfit where there is no QEMU."""
    found = shutil.which(qemu)
    if not found:
        raise HostUnfit(
            f"{qemu} is not there", "it runs the guests", "install qemu-system-x86 (7.2 or newer)"
        )
    program = Path(found).resolve()
    facts = program.stat()
    cpuinfo = Path("/proc/cpuinfo").read_text()
    mhz = MHZ.search(cpuinfo)
    return Host(
        qemu=program,
        build=f"{program}:{facts.st_size}:{facts.st_mtime_ns}",
        cpu=cpu_digest(cpuinfo),
        tsc_khz=round(float(mhz.group(1))) * 1000 if mhz else 0,
        kvm_group=_kvm_group(),
        root=os.geteuid() == 0,
    )


def cpu_digest(cpuinfo: str) -> str:
    """Model, features and flaws of the first CPU in /proc/cpuinfo: a guest that was saved on another must not go on."""
    facts = [line for line in cpuinfo.partition("\n\n")[0].splitlines() if SAME.match(line)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def kvm_access(host: Host, accel: Accel) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Device files and groups that a VMM needs for this accelerator."""
    return (("/dev/kvm",), (host.kvm_group,)) if accel.kind is AccelKind.KVM else ((), ())


def _kvm_group() -> int:
    try:
        return Path("/dev/kvm").stat().st_gid
    except OSError:
        return 0
