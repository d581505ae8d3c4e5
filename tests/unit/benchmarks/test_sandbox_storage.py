"""Which raw disk a way is compared with."""

from __future__ import annotations

from benchmarks.sandbox.storage import HOST, NINEP, RAW, RAW_NINEP, WORKS, _rows


def test_a_way_is_compared_with_the_raw_disk_of_its_own_guest() -> None:
    ways = {HOST: 100.0, RAW: 10.0, "rootfs": 8.0, RAW_NINEP: 5.0, NINEP: 1.0}
    figures = {(way, work): [value] for way, value in ways.items() for work in WORKS}
    runners = dict.fromkeys(ways, (lambda words: b"", ""))
    rows = {row.way: row for row in _rows(runners, figures, 1) if row.work == WORKS[0]}
    assert {way: row.of_raw for way, row in rows.items()} == {
        HOST: 10.0, RAW: 1.0, "rootfs": 0.8, RAW_NINEP: 1.0, NINEP: 0.2,
    }  # fmt: skip
    assert rows[NINEP].of_host == 0.01
