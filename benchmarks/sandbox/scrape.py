"""What a scrape costs: CPU time of the collector, the supervisor and QEMU, for one sandbox, and for 200 every 5 s.

`python -m benchmarks.sandbox.scrape --allow-emulation`: starts one sandbox, scrapes it once a second or slower (figures
are kept for a second), and takes off what the same time costs without scrapes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

from sandbox_runtime import metrics
from sandbox_runtime.command import rm_command, run_command, stats_command
from sandbox_runtime.command.progress import Silent
from sandbox_runtime.command.start import start
from sandbox_runtime.paths import Paths

SANDBOXES, EVERY_SECONDS = 200, 5.0
GAP_SECONDS = 1.1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scrapes", type=int, default=20)
    parser.add_argument("--run-root", type=Path)
    parser.add_argument("--cache-root", type=Path)
    parser.add_argument("--allow-emulation", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    usual = Paths.of_this_user()
    paths = Paths(arguments.run_root or usual.run, arguments.cache_root or usual.cache)
    with tempfile.TemporaryDirectory(prefix="bulkhead-scrape-") as root:
        (Path(root) / "bin").mkdir()
        shutil.copy("/bin/busybox", Path(root) / "bin/busybox")
        found = _measure(paths, root, arguments)
    if arguments.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    sys.stdout.writelines(f"{name}: {value}\n" for name, value in found.items())


def _measure(paths: Paths, root: str, arguments: argparse.Namespace) -> dict[str, object]:
    options = argparse.ArgumentParser()
    run_command.add_parser(options.add_subparsers())
    emulate = ["--allow-emulation"] if arguments.allow_emulation else []
    words = ["run", "-d", "--rm", "--name", f"scrape-{os.urandom(4).hex()}", "-m", "128M", *emulate]
    order = run_command.order_of(options.parse_args([*words, root, "/bin/busybox", "sleep", "100000"]))
    running = start(paths, order, Silent())
    try:
        time.sleep(5)
        idle = _costs(paths, running.id, arguments.scrapes, scrape=False)
        busy = _costs(paths, running.id, arguments.scrapes, scrape=True)
        figures = stats_command.collect(paths, [running.id])
    finally:
        rm_command.force(paths, running.id)
    per_scrape = {name: (busy[name] - idle[name]) / arguments.scrapes for name in busy}
    total = sum(per_scrape.values())
    return {
        "accel": figures[0]["accel"],
        "scrapes": arguments.scrapes,
        **{f"{name}_ms_per_scrape": round(value * 1000, 3) for name, value in per_scrape.items()},
        "bytes_per_sandbox": len(metrics.text(figures)),
        "cores_for_200_every_5_s": round(total * SANDBOXES / EVERY_SECONDS, 3),
        "cores_of_the_collector": round(per_scrape["collector"] * SANDBOXES / EVERY_SECONDS, 4),
    }


def _costs(paths: Paths, sandbox_id: str, times: int, scrape: bool) -> dict[str, float]:
    """CPU seconds that `times` gaps cost."""
    before = _cpu(paths, sandbox_id)
    for _ in range(times):
        if scrape:
            metrics.text(stats_command.collect(paths, [sandbox_id]))
        time.sleep(GAP_SECONDS)
    after = _cpu(paths, sandbox_id)
    return {name: after[name] - before[name] for name in after}


def _cpu(paths: Paths, sandbox_id: str) -> dict[str, float]:
    outcome = json.loads((paths.sandbox(sandbox_id) / "outcome").read_text())
    ours = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "collector": ours.ru_utime + ours.ru_stime,
        "supervisor": _of(outcome["pid"]),
        "vmm": sum(_of(pid) for pid in outcome["vmm"]),
    }


def _of(pid: int) -> float:
    """CPU seconds of a process, by the scheduler's own nanoseconds (proc_pid_schedstat); all of its threads."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


if __name__ == "__main__":
    main()
