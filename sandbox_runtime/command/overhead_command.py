"""`bulkhead sandbox overhead`: measures what a sandbox costs beyond its containers, and says what to declare."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from sandbox_runtime.command import places, rm_command, run_command
from sandbox_runtime.command.client import ask
from sandbox_runtime.command.progress import showing
from sandbox_runtime.command.start import start
from sandbox_runtime.command.table import mib, show
from sandbox_runtime.errors import HostUnfit, SandboxError
from sandbox_runtime.model import MIB
from sandbox_runtime.paths import Paths
from sandbox_runtime.volumes.syntax import parse_size

SETTLE_SECONDS = 2.0
SPARE = 1.1  # what is declared must not be exceeded by a busy day
STEP = 4 * MIB


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("overhead", help="measure what a sandbox costs, for the RuntimeClass")
    places.add_options(parser)
    parser.add_argument(
        "-m", "--memory", action="append", help="memory limits to measure (default: 128M, 512M, 2G)"
    )
    parser.add_argument(
        "--busybox", type=Path, default=Path("/bin/busybox"), help="static busybox to run in it"
    )
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--allow-emulation", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure each size."""
    if not arguments.busybox.exists():
        raise HostUnfit(
            f"{arguments.busybox} is not there", "it runs in the sandbox", "install busybox-static"
        )
    paths = places.paths(arguments)
    sizes = [parse_size(text) for text in arguments.memory or ("128M", "512M", "2G")]
    with tempfile.TemporaryDirectory(prefix="bulkhead-overhead-") as root:
        _lay_out(Path(root), arguments.busybox)
        rows = [_measure(paths, Path(root), size, arguments) for size in sizes]
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return 0
    show(
        ("MEMORY", "VMM", "SUPERVISOR", "GUEST KERNEL AND AGENT", "TOTAL", "64 MiB + 2 %", "DECLARE", "ACCEL"),
        [
            (
                mib(row["memory_bytes"]), mib(row["vmm_bytes"]), mib(row["helper_bytes"]), mib(row["guest_bytes"]),
                mib(row["total_bytes"]), mib(row["bar_bytes"]), f"{row['declare_bytes'] // MIB}Mi", row["accel"],
            )
            for row in rows
        ],
    )  # fmt: skip
    print(f"RuntimeClass: overhead.podFixed.memory: {max(row['declare_bytes'] for row in rows) // MIB}Mi")
    if any(row["accel"] == "tcg" for row in rows):
        print("accel=tcg: the VMM's part holds translated code, which KVM does not have")
    return 0


def _measure(paths: Paths, root: Path, size: int, arguments: argparse.Namespace) -> dict[str, Any]:
    order = run_command.order_of(_options(root, size, arguments))
    with showing(quiet=arguments.json) as progress:
        running = start(paths, order, progress)
    try:
        samples = []
        for _ in range(max(1, arguments.samples)):
            time.sleep(SETTLE_SECONDS)
            ask(paths, running.id, op="stats")  # what containers use is taken off what the guest holds
            samples.append(ask(paths, running.id, op="overhead"))
    finally:
        rm_command.force(paths, running.id)
    if any("error" in sample for sample in samples):
        raise SandboxError(f"the sandbox of {mib(size)} ended while it was measured")
    found = {
        name: int(statistics.median(sample[name] for sample in samples))
        for name in ("vmm_bytes", "helper_bytes", "guest_resident_bytes", "container_bytes", "total_bytes")
    }
    guest = found["guest_resident_bytes"] - found["container_bytes"]
    declare = -(-int(found["total_bytes"] * SPARE) // STEP) * STEP
    return found | {
        "memory_bytes": size, "guest_bytes": guest, "bar_bytes": 64 * MIB + size // 50, "declare_bytes": declare,
        "accel": samples[0]["accel"],
    }  # fmt: skip


def _options(root: Path, size: int, arguments: argparse.Namespace) -> argparse.Namespace:
    """Those of a `run` in the background."""
    parser = argparse.ArgumentParser()
    run_command.add_parser(parser.add_subparsers())
    emulate = ["--allow-emulation"] if arguments.allow_emulation else []
    words = ["run", "-d", "--rm", "--name", f"overhead-{os.urandom(4).hex()}", "-m", str(size), *emulate]
    return parser.parse_args([*words, str(root), "/bin/busybox", "sleep", "100000"])


def _lay_out(root: Path, busybox: Path) -> None:
    for name in ("bin", "proc", "sys", "dev", "tmp"):
        (root / name).mkdir()
    shutil.copy(busybox, root / "bin/busybox")
