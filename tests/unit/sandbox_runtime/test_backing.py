"""Where the guest's memory lies, read from what the kernel says of a process."""

from __future__ import annotations

import os

import pytest

from sandbox_runtime.errors import TraceRefused
from sandbox_runtime.vmm.backing import Extent, extents, lies, place

SIZE = 0x8000000
PAGE = 4096
MAPS = """\
55d0c0000000-55d0c0200000 r-xp 00000000 08:01 1234                       /usr/bin/qemu-system-x86_64
7f0000000000-7f0008000000 ---p 00000000 00:00 0 
7f1000000000-7f1008000000 rw-p 00000000 00:00 0 
7f1008000000-7f1008001000 ---p 00000000 00:00 0 
7f2000000000-7f2008000000 rw-p 00000000 00:01 77                         /memfd:bulkhead-template (deleted)
7f3000000000-7f3008000000 rw-s 00000000 00:00 0 
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
"""  # noqa: W291 - as the kernel writes it


def test_it_is_the_one_anonymous_mapping_of_that_size() -> None:
    assert place(MAPS, SIZE) == 0x7F1000000000


@pytest.mark.parametrize("maps", ["", MAPS + "7f9000000000-7f9008000000 rw-p 00000000 00:00 0 \n"])
def test_none_and_two_are_refused(maps: str) -> None:
    with pytest.raises(TraceRefused, match="anonymous mappings"):
        place(maps, SIZE)


def test_the_template_lies_there_only_whole_private_and_itself() -> None:
    address, whole = 0x7F2000000000, [Extent(0, SIZE)]
    assert lies(MAPS, address, whole, 77)
    assert not lies(MAPS, address, whole, 78)
    assert not lies(MAPS, address + 4096, whole, 77)
    assert not lies(MAPS, address, [Extent(0, SIZE // 2)], 77)
    assert not lies(MAPS, address, [], 77)
    assert not lies(MAPS.replace("rw-p 00000000 00:01", "rw-s 00000000 00:01"), address, whole, 77)
    assert not lies(MAPS.replace("00000000 00:01", "00001000 00:01"), address, whole, 77)


def test_extents_are_what_a_file_holds_small_holes_included() -> None:
    fd = os.memfd_create("t")
    os.ftruncate(fd, 100 * PAGE)
    for page in (0, 3, 50, 51):
        os.pwrite(fd, b"x", page * PAGE)
    try:
        assert extents(fd, 1) == [Extent(n * PAGE, m * PAGE) for n, m in ((0, 1), (3, 4), (50, 52))]
        assert extents(fd, 3 * PAGE) == [Extent(0, 4 * PAGE), Extent(50 * PAGE, 52 * PAGE)]
        os.pwrite(fd, b"x", 99 * PAGE)
        assert extents(fd, 1)[-1] == Extent(99 * PAGE, 100 * PAGE)
        os.ftruncate(fd, 0)
        assert extents(fd, 1) == []
    finally:
        os.close(fd)
