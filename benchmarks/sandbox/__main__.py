"""`python -m benchmarks.sandbox [PART …]`: what a sandbox costs to start, to keep, to store in, and to live beside.

Parts: `starts` (beside QEMU alone, ten at once), `overhead` (memory of an idle sandbox), `storage`, `neighbours`,
`endurance`; without any, the first three. 0: every bar is met; 1: one is not; 2: this host cannot start a sandbox.
Every figure is one of the accelerator that is named first: under emulation only the ratios mean something.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.sandbox import text
from benchmarks.sandbox.crashes import crash_loop
from benchmarks.sandbox.endurance import Endured, endure
from benchmarks.sandbox.load_program import compile_load
from benchmarks.sandbox.neighbours import Hosted, Neighbours, neighbours
from benchmarks.sandbox.ninep import generic_kernel
from benchmarks.sandbox.runc import Runc
from benchmarks.sandbox.starts import Starts, measure_starts
from benchmarks.sandbox.storage import Storage, storage
from sandbox_runtime.command import overhead_command
from sandbox_runtime.errors import SandboxError
from sandbox_runtime.guest.build import build
from sandbox_runtime.model import MIB, GuestImage, Limits
from sandbox_runtime.paths import Paths
from sandbox_runtime.supervisor.host import await_agent
from sandbox_runtime.vmm.accel import probe_accel
from sandbox_runtime.vmm.cgroup import Cgroup
from sandbox_runtime.vmm.host import this_host
from sandbox_runtime.vmm.launch import Launcher, Request
from sandbox_runtime.vmm.sizing import size_of
from sandbox_runtime.vmm.templates import Templates
from sandbox_runtime.volumes.syntax import parse_size

CLONE_NEWNET = 0x40000000
BUSYBOX = Path("/bin/busybox")
SHELL = "sh cat head tail dd sleep true"
STORED_IN = 512 * MIB
NEIGHBOURS = (0, 9)  # beside the sandbox whose overhead is measured: the dearest case, and a small node


class Results(NamedTuple):
    """All that was measured; None for a part that was not asked for."""

    accel: str
    starts: Starts | None
    overhead: list[dict[str, Any]] | None
    storage: Storage | None
    neighbours: Neighbours | None
    endurance: list[Endured] | None

    def misses(self) -> list[str]:
        """The bars that are not met, with the figure."""
        found = [*self.starts.misses()] if self.starts else []
        for row in self.overhead or []:
            if row["total_bytes"] > row["bar_bytes"]:
                said = f"{row['total_bytes'] / MIB:.1f} of {row['bar_bytes'] / MIB:.1f} MiB"
                found.append(f"overhead at {row['memory_bytes'] // MIB} MiB beside {row['beside']}: {said}")
        found += self.storage.misses() if self.storage else []
        for each in self.endurance or []:
            if each.failures or each.left:
                found.append(f"{each.kind}: {each.failures} failures, {each.left} left of {each.rounds}")
        return found


class Bench(NamedTuple):
    """Stores of our own on this host, with a guest."""

    asked: argparse.Namespace
    folder: Path
    paths: Paths
    guest: GuestImage
    launcher: Launcher
    group: str
    guest_cache: Path

    def request(self, memory_bytes: int) -> Request:
        """A machine of one processor."""
        size = size_of(Limits(1_000, memory_bytes))
        accel = probe_accel(self.paths)
        return Request(id="bench", guest=self.guest, size=size, accel=accel, allow_emulation=True)

    def starts(self) -> Starts:
        """The part of this name."""
        asked = self.asked
        return measure_starts(
            self.launcher, self.request(128 * MIB), self.folder, asked.restores, asked.boots, asked.at_once
        )

    def overhead(self) -> list[dict[str, Any]]:
        """The part of this name: what `bulkhead sandbox overhead` measures."""
        self.use_guest()
        sizes = [parse_size(text) for text in overhead_command.SIZES]
        return [
            row
            for beside in NEIGHBOURS
            for row in overhead_command.measure(
                self.paths,
                sizes,
                overhead_command.defaults("--allow-emulation", "--json", f"--beside={beside}"),
            )
        ]

    def use_guest(self) -> None:
        """Let commands find the guest that is built already."""
        if not self.paths.guest.is_symlink():
            self.paths.cache.mkdir(parents=True, exist_ok=True)
            self.paths.guest.symlink_to(self.guest.kernel.parents[1])

    def storage(self) -> Storage:
        """The part of this name."""
        asked, other = self.asked, self.asked.generic_kernel
        ninep = build(Paths(self.paths.run, self.guest_cache), generic_kernel(other)) if other else None
        return storage(
            self.launcher, self.request(STORED_IN), self.folder, asked.rounds, asked.milliseconds, ninep
        )

    def endurance(self) -> list[Endured]:
        """The part of this name."""
        request = self.request(128 * MIB)
        cold = request._replace(use_template=False)
        counts = ((request, self.asked.endure_restores), (cold, self.asked.endure_boots))
        return [endure(self.launcher, each, self.group, count) for each, count in counts if count]

    def neighbours(self) -> Neighbours:
        """The part of this name."""
        image = self.folder / "image"
        (image / "bin").mkdir(parents=True)
        for name in ("proc", "sys", "dev", "tmp"):
            (image / name).mkdir()
        shutil.copy(BUSYBOX, image / "bin")
        for name in SHELL.split():
            (image / "bin" / name).symlink_to("busybox")
        self.use_guest()
        program = compile_load(self.folder, self.guest.kernel.parents[1] / "go-cache")
        shutil.copy(program, image / "bin")
        plain = Runc(self.folder, image, self.group)
        request = self.request(128 * MIB)._replace(id="crash", cgroup=Cgroup(f"{self.group}/crash"))
        request.cgroup.create(512 * MIB, cpu_milli=1_000)
        crashing = partial(crash_loop, self.launcher, request, program)
        return neighbours(
            Hosted(self.paths, image, self.group, plain, crashing), self.asked.rounds, self.asked.seconds
        )


PARTS: dict[str, Callable[[Bench], Any]] = {
    "starts": Bench.starts,
    "overhead": Bench.overhead,
    "storage": Bench.storage,
    "neighbours": Bench.neighbours,
    "endurance": Bench.endurance,
}


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
        sys.stdout.write(json.dumps(text.plain(results) | {"misses": misses}) + "\n")
    else:
        sys.stdout.write(text.table(results, misses))
    return 1 if misses else 0


def measure(asked: argparse.Namespace, folder: Path) -> Results:
    """All parts that are asked for, in stores of our own; the guest comes from the usual cache."""
    if os.geteuid() == 0:
        _apart()
    cache = Path(asked.cache) if asked.cache else Paths.of_this_user().cache
    guest = build(Paths(folder / "run", cache))
    paths = Paths(folder / "run", folder / "cache")
    group = f"bulkhead-benchmark-{os.getpid()}"
    templates = Templates(paths)
    launcher = Launcher(paths, this_host(), templates, await_agent)
    bench = Bench(asked, folder, paths, guest, launcher, group, cache)
    try:
        found = {name: PARTS[name](bench) for name in asked.parts or ("starts", "overhead", "storage")}
    finally:
        templates.collect(0)
        Cgroup(f"{group}/crash").remove()
        Cgroup(group).remove()
    return Results(probe_accel(paths).kind, *(found.get(name) for name in PARTS))


def _apart() -> None:
    """A network namespace of our own: taps and the NFS server are nobody else's."""
    if ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def _end(number: int, frame: object) -> None:
    """Let every `finally` run: machines, templates and groups must not outlive the benchmark."""
    raise SystemExit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sandbox", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--json", action="store_true", help="one JSON object")
    numbers = {
        "restores": (15, "restores of each kind"),
        "boots": (3, "cold boots of each kind"),
        "at-once": (10, "sandboxes that start at the same time"),
        "rounds": (3, "rounds of storage and neighbours"),
        "milliseconds": (700, "of one work in the storage table"),
        "seconds": (3, "of requests in each situation among neighbours"),
        "endure-restores": (500, "restores in a row"),
        "endure-boots": (200, "boots in a row"),
    }
    for name, (default, what) in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{what} (default {default})")
    parser.add_argument(
        "--generic-kernel", type=Path, help="an unpacked kernel package with 9p, as a reference"
    )
    parser.add_argument("--cache", help="where the built guest is kept (default: the usual cache)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
