"""What a text of /proc/PID/smaps is taken for, and what is overhead of it."""

from __future__ import annotations

from sandbox_runtime.model import MIB
from sandbox_runtime.vmm.overhead import Mapping, Overhead, mappings

SMAPS = """\
7f0000000000-7f0008000000 rw-p 00000000 00:01 2608                       /memfd:bulkhead-template (deleted)
Size:             131072 kB
Rss:               40960 kB
Pss:               30720 kB
Pss_Dirty:         30720 kB
Anonymous:         12288 kB
VmFlags: rd wr mr mw me ac dd sd
7f0010000000-7f0012000000 rwxp 00000000 00:00 0
Size:              32768 kB
Pss:               16384 kB
Anonymous:         16384 kB
"""
COST = Overhead(20 * MIB, 16 * MIB, 10 * MIB, 12 * MIB, 18 * MIB, 2 * MIB, "tcg")


def test_each_mapping_is_read_with_its_size_access_file_and_pages() -> None:
    assert list(mappings(SMAPS)) == [
        Mapping(128 * MIB, "rw-p", "/memfd:bulkhead-template (deleted)", 30 * MIB, 12 * MIB, undumped=True),
        Mapping(32 * MIB, "rwxp", "", 16 * MIB, 16 * MIB),
    ]
    assert list(mappings("")) == []


def test_guest_memory_is_what_is_written_and_kept_out_of_dumps() -> None:
    guest, code = mappings(SMAPS)
    assert (guest.of_guest, code.of_guest) == (True, False)
    assert not guest._replace(access="r--p").of_guest


def test_what_containers_use_is_no_overhead_and_everything_else_is() -> None:
    assert COST.guest_bytes == 28 * MIB
    assert COST.total_bytes == (20 + 16 + 10 + 28) * MIB


def test_a_further_sandbox_does_not_bring_the_template_again() -> None:
    assert COST.further_bytes == COST.total_bytes - 18 * MIB


def test_a_guest_that_claims_more_for_its_containers_than_it_holds_does_not_make_the_rest_smaller() -> None:
    boastful = COST._replace(container_bytes=1 << 60)
    assert boastful.guest_bytes == 0
    assert boastful.total_bytes == boastful.further_bytes == 46 * MIB
