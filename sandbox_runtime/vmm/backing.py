"""Puts the memory of a template where a waiting machine has its own, so that what the guest frees can be dropped.

QEMU gives a page back, reported by the guest or taken by the balloon, in two steps (softmmu/physmem.c,
ram_block_discard_range): memory that it opened as a file gets a hole punched into that file, mapped private or not,
and only then is the page dropped by madvise(2). The file of a template belongs to all, and its seal refuses the hole:
nothing would ever go back. So a restored machine is started with anonymous memory, for which QEMU knows the second
step alone, and before its state is loaded the template is mapped over it, private, by a system call made in QEMU.

Only what the template has is mapped. Where its file has a hole the machine keeps anonymous memory: the first access to
a hole through a private mapping would put a page of zeroes into the file (mm/shmem.c, shmem_fault), beside the copy if
it is a write, on the account of this machine, and there it would stay.

MADV_DONTNEED on such a mapping drops the copy of the page; the next access shows the template's page again, of which
the guest assumes nothing: it has said that it does not (`devices.balloon`). The template's descriptor is closed in
QEMU, which after that can reach it through the mapping only.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.errors import TraceRefused
from sandbox_runtime.vmm.tracing import Traced, traced

SYS_CLOSE, SYS_MMAP, SYS_MADVISE = 3, 9, 28  # x86-64
MAP_FIXED, MAP_NORESERVE = 0x10, 0x4000
MADV_NOHUGEPAGE, MADV_DONTDUMP = 15, 16
# A smaller hole is mapped with what is around it: a mapping costs a system call and memory of the kernel.
HOLE_LEAST = 1 << 20


class Extent(NamedTuple):
    """A part of the template's file that holds data, and of the memory it belongs to: bytes from `start` to `end`."""

    start: int
    end: int


MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) \S+ (\d+) *(.*)$", re.MULTILINE)


def put(pid: int, size_bytes: int, theirs: int, memory: int, parts: Sequence[Extent]) -> None:
    """Map `parts` of the file `memory`, `theirs` in process `pid`, over its anonymous memory of `size_bytes`.

    TraceRefused where the kernel does not let us, or where it has not exactly one such memory; it must be ended then.
    """
    with traced(pid) as process:
        address = place(_maps(pid), size_bytes)
        try:
            _lay(process, address, size_bytes, theirs, parts)
        except OSError as error:
            raise TraceRefused(str(error)) from error
        if not lies(_maps(pid), address, parts, os.fstat(memory).st_ino):
            raise TraceRefused(f"the template does not lie at {address:#x} of process {pid}")


def _lay(process: Traced, address: int, size_bytes: int, theirs: int, parts: Sequence[Extent]) -> None:
    access, how = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE
    for part in parts:
        process.call(SYS_MMAP, address + part.start, part.end - part.start, access, how, theirs, part.start)
    process.call(SYS_MADVISE, address, size_bytes, MADV_DONTDUMP)  # a fresh mapping has lost it
    process.call(SYS_MADVISE, address, size_bytes, MADV_NOHUGEPAGE)  # a page that is touched costs a page
    process.call(SYS_CLOSE, theirs)


def extents(fd: int, hole_least: int = HOLE_LEAST) -> list[Extent]:
    """The parts of a file that hold data, in order; holes smaller than `hole_least` bytes count as data."""
    found: list[Extent] = []
    at, size = 0, os.fstat(fd).st_size
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                break
            raise
        at = os.lseek(fd, start, os.SEEK_HOLE)
        if found and start - found[-1].end < hole_least:
            start = found.pop().start
        found.append(Extent(start, at))
    return found


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


def lies(maps: str, address: int, parts: Sequence[Extent], inode: int) -> bool:
    """Whether each of `parts` of the file `inode`, and nothing else of it, is mapped private at its place."""
    found = [
        (int(start, 16), int(end, 16), access, int(offset, 16))
        for start, end, access, offset, number, _ in MAPPING.findall(maps)
        if int(number) == inode
    ]
    return found == [(address + part.start, address + part.end, "rw-p", part.start) for part in parts]


def _maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except OSError as error:
        raise TraceRefused(f"process {pid} cannot be looked into: {error.strerror}") from error
