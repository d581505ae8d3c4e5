"""The bars of the sandbox benchmark, and that bare QEMU gets our arguments and nothing of ours besides."""

from __future__ import annotations

from pathlib import Path

from benchmarks.sandbox.__main__ import Results
from benchmarks.sandbox.bare import _by_path
from benchmarks.sandbox.starts import Beside, Starts
from sandbox_runtime.model import MIB, AccelKind
from sandbox_runtime.vmm import machine
from sandbox_runtime.vmm.machine import Fd, Shape

GOOD = Starts(
    Beside(150.0, 100.0, 1.5, 5, {}),
    Beside(1_200.0, 1_000.0, 1.2, 2, {}),
    8.0,
    [200.0],
)
COSTS = [{"beside": 9, "memory_bytes": 128 * MIB, "total_bytes": 66 * MIB, "bar_bytes": 66 * MIB}]


def test_figures_on_the_bar_are_met() -> None:
    assert GOOD.misses() == []


def test_each_figure_beyond_its_bar_is_named() -> None:
    bad = GOOD._replace(
        restore=GOOD.restore._replace(ratio=1.501),
        boot=GOOD.boot._replace(ratio=1.21),
        boot_over_restore=7.9,
    )
    assert [miss.split()[0] for miss in bad.misses()] == ["restore", "cold", "restore"]


def test_a_sandbox_may_cost_what_the_bar_says_and_no_byte_more() -> None:
    met = Results("tcg", None, COSTS, None, None, None)
    missed = met._replace(overhead=[COSTS[0] | {"total_bytes": 66 * MIB + 1}])
    assert met.misses() == []
    assert [miss.split(":")[0] for miss in missed.misses()] == ["overhead at 128 MiB beside 9"]


def test_bare_qemu_has_paths_for_descriptors_and_no_filter(tmp_path: Path) -> None:
    shape = Shape(AccelKind.TCG, 1, 128 * MIB, "digest", True, True, True, False, "quiet")
    files = {Fd.KERNEL: Path("/k"), Fd.INITRD: Path("/i"), Fd.IMAGE: Path("/g")}
    words = _by_path(machine.booted(shape), files, tmp_path)
    text = " ".join(words)
    assert "/proc/self/fd" not in text
    assert "-sandbox" not in words
    assert f"path={tmp_path}/agent,server=on" in text
    assert len(words) == len(machine.booted(shape)) - 2
