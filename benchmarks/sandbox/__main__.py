"""`python -m benchmarks.sandbox`: starts beside QEMU alone, many at once, and what an idle sandbox costs.

0: every bar is met; 1: one is not; 2: this host cannot start a sandbox. Every figure is one of the accelerator that
is named first: under emulation only the ratios mean something.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.sandbox import starts
from benchmarks.sandbox.starts import Beside, Cost
from sandbox_runtime.channel import Channel
from sandbox_runtime.errors import SandboxError
from sandbox_runtime.guest.build import build
from sandbox_runtime.model import MIB, GuestImage, Limits
from sandbox_runtime.paths import Paths
from sandbox_runtime.vmm.accel import probe_accel
from sandbox_runtime.vmm.cgroup import Cgroup
from sandbox_runtime.vmm.host import this_host
from sandbox_runtime.vmm.launch import Launcher, Request
from sandbox_runtime.vmm.sizing import size_of
from sandbox_runtime.vmm.templates import Templates

RESTORE_BAR, BOOT_BAR, SPEED_UP_BAR = 1.5, 1.2, 8.0
COSTS = (128 * MIB, 512 * MIB, 2048 * MIB)


class Results(NamedTuple):
    """All that was measured."""

    accel: str
    restore: Beside
    boot: Beside
    boot_over_restore: float
    at_once_ms: list[float]
    costs: list[Cost]

    def misses(self) -> list[str]:
        """The bars that are not met, with the figure."""
        checks = [
            (
                self.restore.ratio <= RESTORE_BAR,
                f"restore {self.restore.ratio} of bare QEMU, bar {RESTORE_BAR}",
            ),
            (self.boot.ratio <= BOOT_BAR, f"cold boot {self.boot.ratio} of bare QEMU, bar {BOOT_BAR}"),
            (
                self.boot_over_restore >= SPEED_UP_BAR,
                f"restore {self.boot_over_restore}x, bar {SPEED_UP_BAR}x",
            ),
        ]
        for cost in self.costs:
            said = f"{cost.memory_bytes // MIB} MiB: {cost.total_bytes / MIB:.1f} of {cost.bar_bytes / MIB:.1f} MiB"
            checks.append((cost.total_bytes <= cost.bar_bytes, said))
        return [said for met, said in checks if not met]


def main(argv: list[str]) -> int:
    """Measure, print."""
    asked = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _end)
    try:
        with tempfile.TemporaryDirectory(prefix="bh-") as folder:
            results = measure(asked, Path(folder))
    except SandboxError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    misses = results.misses()
    if asked.json:
        text = {**results._asdict(), "restore": results.restore._asdict(), "boot": results.boot._asdict()}
        text["costs"] = [cost._asdict() for cost in results.costs]
        sys.stdout.write(json.dumps(text | {"misses": misses}) + "\n")
    else:
        sys.stdout.write(_table(results, misses))
    return 1 if misses else 0


def measure(asked: argparse.Namespace, folder: Path) -> Results:
    """Everything, in a store of its own; the guest comes from the usual cache."""
    cache = Path(asked.cache) if asked.cache else Paths.of_this_user().cache
    guest = build(Paths(folder / "run", cache))
    paths = Paths(folder / "run", folder / "cache")
    templates = Templates(paths, Cgroup(f"bulkhead-benchmark-{os.getpid()}"))
    launcher = Launcher(paths, this_host(), templates, lambda port: Channel(port).greet(120))
    try:
        small = _request(paths, guest, COSTS[0])
        restore = starts.restores(launcher, small, folder, asked.restores)
        boot = starts.boots(launcher, small, folder, asked.boots)
        many = starts.at_once(launcher, small, asked.at_once)
        costs = [starts.cost(launcher, _request(paths, guest, memory), memory) for memory in COSTS]
    finally:
        templates.collect(0)
    return Results(small.accel.kind, restore, boot, round(boot.ours_ms / restore.ours_ms, 1), many, costs)


def _request(paths: Paths, guest: GuestImage, memory: int) -> Request:
    size = size_of(Limits(1_000, memory))
    return Request(id="bench", guest=guest, size=size, accel=probe_accel(paths), allow_emulation=True)


def _end(number: int, frame: object) -> None:
    """Let every `finally` run: machines, templates and groups must not outlive the benchmark."""
    raise SystemExit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sandbox", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--restores", type=int, default=15, help="restores of each kind (default 15)")
    parser.add_argument("--boots", type=int, default=3, help="cold boots of each kind (default 3)")
    parser.add_argument(
        "--at-once", type=int, default=10, help="sandboxes that start at the same time (default 10)"
    )
    parser.add_argument("--cache", help="where the built guest is kept (default: the usual cache)")
    return parser


def _table(results: Results, misses: list[str]) -> str:
    lines = [f"accel={results.accel}"]
    for name, beside in (("restore", results.restore), ("cold boot", results.boot)):
        lines.append(
            f"{name:10} ours {beside.ours_ms:8.1f} ms  bare QEMU {beside.bare_ms:8.1f} ms  ratio {beside.ratio:.2f}"
            f"  ({beside.rounds} in turns)  phases {beside.phases_ms}"
        )
    lines.append(f"restore is {results.boot_over_restore}x faster than cold boot")
    lines.append(f"{len(results.at_once_ms)} at once: {results.at_once_ms[0]} to {results.at_once_ms[-1]} ms")
    lines += [_cost_line(cost) for cost in results.costs]
    lines += [f"MISSED: {miss}" for miss in misses] or ["every bar is met"]
    return "\n".join(lines) + "\n"


def _cost_line(cost: Cost) -> str:
    parts = f"VMM {cost.vmm_bytes / MIB:.1f} + guest {cost.guest_bytes / MIB:.1f} = {cost.total_bytes / MIB:.1f} MiB"
    return f"idle sandbox of {cost.memory_bytes // MIB:5} MiB: {parts}, bar {cost.bar_bytes / MIB:.1f} MiB"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
