"""Where the guest's memory lies, read from what the kernel says of a process."""

from __future__ import annotations

import pytest

from sandbox_runtime.errors import TraceRefused
from sandbox_runtime.vmm.backing import lies, place

SIZE = 0x8000000
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
    assert lies(MAPS, 0x7F2000000000, SIZE, 77)
    assert not lies(MAPS, 0x7F2000000000, SIZE, 78)
    assert not lies(MAPS, 0x7F2000000000, SIZE // 2, 77)
    assert not lies(MAPS.replace("rw-p 00000000 00:01", "rw-s 00000000 00:01"), 0x7F2000000000, SIZE, 77)
    assert not lies(MAPS.replace("00000000 00:01", "00001000 00:01"), 0x7F2000000000, SIZE, 77)
