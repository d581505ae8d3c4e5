"""Puts the memory of a template where a waiting machine has its own, so that what the guest frees can be dropped.

QEMU gives a page back, reported by the guest or taken by the balloon, in two steps (softmmu/physmem.c,
ram_block_discard_range): memory that it opened as a file gets a hole punched into that file, mapped private or not,
and only then is the page dropped by madvise(2). The file of a template belongs to all, and its seal refuses the hole:
nothing would ever go back. So a restored machine is started with anonymous memory, for which QEMU knows the second
step alone, and before its state is loaded the template is mapped over it, private, by a system call made in QEMU.

MADV_DONTNEED on such a mapping drops the copy of the page; the next access shows the template's page again, of which
the guest assumes nothing: it has said that it does not (`devices.balloon`). The template's descriptor is closed in
QEMU, which after that can reach it through the mapping only.
"""

from __future__ import annotations

import mmap
import os
import re
from pathlib import Path

from sandbox_runtime.errors import TraceRefused
from sandbox_runtime.vmm.tracing import traced

SYS_CLOSE, SYS_MMAP, SYS_MADVISE = 3, 9, 28  # x86-64
MAP_FIXED, MAP_NORESERVE = 0x10, 0x4000
MADV_DONTDUMP = 16
MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) \S+ (\d+) *(.*)$", re.MULTILINE)


def put(pid: int, size_bytes: int, theirs: int, memory: int) -> None:
    """Map the file `memory`, which process `pid` has as `theirs`, over its anonymous memory of `size_bytes`.

    TraceRefused where the kernel does not let us, or where it has not exactly one such memory; it must be ended then.
    """
    with traced(pid) as process:
        address = place(_maps(pid), size_bytes)
        access, how = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE
        try:
            process.call(SYS_MMAP, address, size_bytes, access, how, theirs, 0)
            process.call(SYS_MADVISE, address, size_bytes, MADV_DONTDUMP)  # a fresh mapping has lost it
            process.call(SYS_CLOSE, theirs)
        except OSError as error:
            raise TraceRefused(str(error)) from error
        if not lies(_maps(pid), address, size_bytes, os.fstat(memory).st_ino):
            raise TraceRefused(f"the template does not lie at {address:#x} of process {pid}")


def place(maps: str, size_bytes: int) -> int:
    """The address of the one anonymous, writable mapping of `size_bytes` in a text of /proc/PID/maps.

    The guest's memory never merges with a neighbour: of all mappings of QEMU it alone is kept out of dumps.
    """
    found = [
        int(start, 16)
        for start, end, access, _, inode, name in MAPPING.findall(maps)
        if int(end, 16) - int(start, 16) == size_bytes and access == "rw-p" and inode == "0" and not name
    ]
    if len(found) != 1:
        raise TraceRefused(f"{len(found)} anonymous mappings of {size_bytes} bytes instead of one")
    return found[0]


def lies(maps: str, address: int, size_bytes: int, inode: int) -> bool:
    """Whether all of the file `inode`, and nothing else, is mapped private at `address`."""
    return any(
        (int(start, 16), int(end, 16), access, int(offset, 16), int(number))
        == (address, address + size_bytes, "rw-p", 0, inode)
        for start, end, access, offset, number, _ in MAPPING.findall(maps)
    )


def _maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except OSError as error:
        raise TraceRefused(f"process {pid} cannot be looked into: {error.strerror}") from error
