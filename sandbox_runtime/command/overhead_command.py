"""`bulkhead sandbox overhead`: measures what a sandbox costs beyond its containers, and says what to declare."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
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
SIZES = ("128M", "512M", "2G")
BAR_BYTES, BAR_SHARE = 64 * MIB, 50  # what it is held to: 64 MiB and 2 % of the memory request
COLUMNS = (
    "memory_bytes", "vmm_bytes", "translated_bytes", "helper_bytes", "guest_bytes", "total_bytes", "bar_bytes",
    "guest_template_bytes", "further_bytes",
)  # fmt: skip
HEAD = (
    "MEMORY", "VMM", "TRANSLATED", "SUPERVISOR", "GUEST KERNEL, AGENT", "TOTAL", "64 MiB + 2 %",
    "OF IT TEMPLATE", "FURTHER", "DECLARE",
)  # fmt: skip


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
    parser.add_argument(
        "--beside", type=int, default=0, help="how many equal sandboxes run beside the one that is measured"
    )
    parser.add_argument("--allow-emulation", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure each size."""
    sizes = [parse_size(text) for text in arguments.memory or SIZES]
    rows = measure(places.paths(arguments), sizes, arguments)
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return 0
    show(HEAD, [[*(mib(row[name]) for name in COLUMNS), f"{row['declare_bytes'] // MIB}Mi"] for row in rows])
    print(f"RuntimeClass: overhead.podFixed.memory: {max(row['declare_bytes'] for row in rows) // MIB}Mi")
    print(
        f"accel={rows[0]['accel']}; FURTHER is what one more sandbox of a size adds to a node that has its template"
    )
    return 0


def measure(paths: Paths, sizes: Sequence[int], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A sandbox of each size with a container that sleeps; medians, by the names of `vmm.overhead.Overhead`."""
    if not arguments.busybox.exists():
        raise HostUnfit(
            f"{arguments.busybox} is not there", "it runs in the sandbox", "install busybox-static"
        )
    with tempfile.TemporaryDirectory(prefix="bulkhead-overhead-") as root:
        _lay_out(Path(root), arguments.busybox)
        return [_measure(paths, Path(root), size, arguments) for size in sizes]


def defaults(*words: str) -> argparse.Namespace:
    """The options of a command line, for `measure`."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    return parser.parse_args(["overhead", *words])


def _measure(paths: Paths, root: Path, size: int, arguments: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        for _ in range(arguments.beside):
            _started(paths, root, size, arguments, stack)
        found = _measured(paths, size, arguments, _started(paths, root, size, arguments, stack))
    return {"beside": arguments.beside, **found}


def _started(paths: Paths, root: Path, size: int, arguments: argparse.Namespace, stack: ExitStack) -> str:
    """The ID of one more sandbox, which ends with `stack`."""
    order = run_command.order_of(_options(root, size, arguments))
    with showing(quiet=arguments.json) as progress:
        running = start(paths, order, progress)
    stack.callback(rm_command.force, paths, running.id)
    return running.id


def _measured(paths: Paths, size: int, arguments: argparse.Namespace, identity: str) -> dict[str, Any]:
    samples = []
    for _ in range(max(1, arguments.samples)):
        time.sleep(SETTLE_SECONDS)
        ask(paths, identity, op="stats")  # what containers use is taken off what the guest holds
        samples.append(ask(paths, identity, op="overhead"))
    if any("error" in sample for sample in samples):
        raise SandboxError(f"the sandbox of {mib(size)} ended while it was measured")
    accel = samples[0].pop("accel")
    found = {name: int(statistics.median(sample[name] for sample in samples)) for name in samples[0]}
    declare = -(-int(found["total_bytes"] * SPARE) // STEP) * STEP
    bar = BAR_BYTES + size // BAR_SHARE
    return {"memory_bytes": size, **found, "bar_bytes": bar, "declare_bytes": declare, "accel": accel}


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
