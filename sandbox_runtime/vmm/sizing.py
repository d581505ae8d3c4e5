"""How large the machine is. Pure.

Memory comes in classes, so that one template serves many pods; what a class has beyond the need is taken by the balloon
before the first container runs. A class is a power of two or one and a half, plus the headroom of guest kernel
and agent: a pod of 128 MiB, 512 MiB or 2 GiB fits its class exactly.
"""

from __future__ import annotations

from typing import NamedTuple

from sandbox_runtime.model import MIB, Limits, Refused

SMALLEST_CLASS = 128 * MIB
HEADROOM = 48 * MIB  # guest kernel and agent before `struct page`; `bulkhead sandbox overhead` measures it
PAGE_STRUCT = 64  # bytes per 4 KiB page of guest memory: include/linux/mm_types.h
DEFAULT_MEMORY = 512 * MIB  # of a sandbox without a memory limit
DEFAULT_CPU_MILLI = 1_000
VMM_KVM = 40 * MIB  # QEMU and the supervisor, measured; the emulator has its translated code besides
VMM_TCG = 68 * MIB


class Size(NamedTuple):
    """The machine of a sandbox.

    Attributes:
        vcpus: whole processors.
        memory_bytes: what the machine has: the class.
        usable_bytes: what the balloon leaves of it.
    """

    vcpus: int
    memory_bytes: int
    usable_bytes: int

    @property
    def balloon_bytes(self) -> int:
        """What the balloon takes from the guest."""
        return self.memory_bytes - self.usable_bytes


def size_of(limits: Limits) -> Size:
    """The smallest class that holds the limits, and vCPUs rounded up to at least one."""
    vcpus = max(1, -(-(limits.cpu_milli or DEFAULT_CPU_MILLI) // 1000))
    asked = limits.memory_bytes or DEFAULT_MEMORY
    memory = class_of(asked)
    total = memory + headroom(memory)
    return Size(vcpus, total, total - (memory - _whole_mib(asked)))


def class_of(memory_bytes: int) -> int:
    """The class for `memory_bytes` of containers: 128, 192, 256, 384, 512 MiB, and so on."""
    size = SMALLEST_CLASS
    while size < memory_bytes:
        if size * 3 // 2 >= memory_bytes:
            return size * 3 // 2
        size *= 2
    return size


def headroom(class_bytes: int) -> int:
    """What the guest itself needs in a class, in whole MiB; grows with the page structures of its memory."""
    return _whole_mib(HEADROOM + class_bytes // 4096 * PAGE_STRUCT)


def refusal(size: Size, cgroup_limit: int, vmm_bytes: int) -> Refused | None:
    """Why this machine must not start in a cgroup of `cgroup_limit` bytes (0: none), or None where it fits.

    Memory that the cgroup does not have is not lent: the kernel would kill the whole VM when the guest uses it.
    """
    need = size.usable_bytes + vmm_bytes
    if not cgroup_limit or need <= cgroup_limit:
        return None
    why = (
        f"the VM needs {_mib(size.usable_bytes)} of guest memory and {_mib(vmm_bytes)} for the VMM, "
        f"the cgroup of the pod allows {_mib(cgroup_limit)}: declare an overhead of at least "
        f"{_mib(need - cgroup_limit)} more in the RuntimeClass, or lower the memory limits"
    )
    numbers = (("guest_bytes", size.usable_bytes), ("vmm_bytes", vmm_bytes), ("cgroup_bytes", cgroup_limit))
    return Refused("memory-exceeds-cgroup", why, numbers)


def _whole_mib(count: int) -> int:
    return -(-count // MIB) * MIB


def _mib(count: int) -> str:
    return f"{count / MIB:.0f} MiB"
