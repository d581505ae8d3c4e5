"""Many sandboxes one after another: each answers, and each leaves nothing."""

from __future__ import annotations

import os
import statistics
import sys
import time
from typing import NamedTuple

from benchmarks.sandbox.traces import Traces, look
from sandbox_runtime.errors import SandboxError
from sandbox_runtime.supervisor.greeting import Silent, greet
from sandbox_runtime.vmm.cgroup import Cgroup
from sandbox_runtime.vmm.launch import Launcher, Request
from sandbox_runtime.vmm.tap import open_tap

GROUP_BYTES = 1 << 30
SHOWN = 20  # rounds between two words of progress
TOLD = 5  # failures and left-overs that are printed; all are counted


class Endured(NamedTuple):
    """One kind of start, many times.

    Attributes:
        failures: starts that did not end with an agent's hello, or not in the way that was asked for.
        silent: guests that said nothing and were booted once more, as a sandbox does; not failures, never hidden.
        left: what was there after a sandbox and not before it.
        told: the first few of both, in words.
    """

    kind: str
    rounds: int
    failures: int
    silent: int
    left: int
    median_ms: float
    worst_ms: float
    seconds: float
    told: list[str]


def endure(launcher: Launcher, request: Request, group: str, rounds: int) -> Endured:
    """Start `rounds` sandboxes one after another, each with a control group below `group` and a tap of its own."""
    kind = "restore" if request.use_template else "boot"
    begin, times, failures, silent, left, told = time.monotonic(), [], 0, 0, 0, []
    before = _first(launcher, request, group)
    for number in range(rounds):
        try:
            seconds, words = _once(launcher, request, f"{group}/{kind}{number}", f"{kind}{number}")
            times.append(seconds)
            silent += len(words)
            told += words
        except (SandboxError, OSError, RuntimeError) as error:
            failures += 1
            told.append(f"{kind} {number}: {error}")
        found = look(launcher.paths, group).since(before)
        left += len(found)
        told += [f"{kind} {number} left {thing}" for thing in found]
        if (number + 1) % SHOWN == 0:
            line = f"{number + 1} x {kind}: {failures} failures, {silent} booted once more, {left} left"
            sys.stderr.write(f"{line}, {time.monotonic() - begin:.0f} s\n")
    middle = round(statistics.median(times) * 1000, 1) if times else 0.0
    worst = round(max(times, default=0) * 1000, 1)
    took = round(time.monotonic() - begin, 1)
    return Endured(kind, rounds, failures, silent, left, middle, worst, took, told[:TOLD])


def _first(launcher: Launcher, request: Request, group: str) -> Traces:
    """What is there when the template has been made, which stays."""
    _once(launcher, request, f"{group}/first", "first")
    return look(launcher.paths, group)


def _once(launcher: Launcher, request: Request, cgroup: str, name: str) -> tuple[float, list[str]]:
    """Seconds until the hello, and what was said of a guest that said none."""
    own = Cgroup(cgroup)
    own.create(GROUP_BYTES)
    tap = open_tap("bench0")
    request = request._replace(id=name, cgroup=own, tap=tap)
    try:
        try:
            return _started(launcher, request), []
        except Silent as silent:
            return _started(launcher, request._replace(use_template=False)), [f"{name}: {silent}"]
    finally:
        os.close(tap)
        own.remove()


def _started(launcher: Launcher, request: Request) -> float:
    begin = time.monotonic()
    vm = launcher.start(request)
    try:
        greet(vm).close()
        seconds = time.monotonic() - begin
    finally:
        vm.close()
    if vm.started.restored != request.use_template:
        raise RuntimeError(f"not started as asked: {vm.started.why_cold}")
    return seconds
