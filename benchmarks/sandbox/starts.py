"""Starts: ours beside QEMU alone, in turns, so that a change of the machine's load meets both; and many at once."""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.sandbox import bare
from sandbox_runtime.channel import Channel
from sandbox_runtime.errors import SandboxError, VmmFailed
from sandbox_runtime.supervisor.figures import cpu_us
from sandbox_runtime.vmm.launch import Launcher, Request
from sandbox_runtime.vmm.vm import Vm

RESTORE_BAR, BOOT_BAR, SPEED_UP_BAR = 1.5, 1.2, 8.0


class Beside(NamedTuple):
    """Milliseconds of both until the agent answers, medians; the ratio is of the medians."""

    ours_ms: float
    bare_ms: float
    ratio: float
    rounds: int
    phases_ms: dict[str, float]


class Starts(NamedTuple):
    """All of this part; `at_once_ms` sorted."""

    restore: Beside
    boot: Beside
    boot_over_restore: float
    at_once_ms: list[float]

    def misses(self) -> list[str]:
        """The bars that are not met, with the figure."""
        found = []
        if self.restore.ratio > RESTORE_BAR:
            found.append(f"restore {self.restore.ratio} of bare QEMU, bar {RESTORE_BAR}")
        if self.boot.ratio > BOOT_BAR:
            found.append(f"cold boot {self.boot.ratio} of bare QEMU, bar {BOOT_BAR}")
        if self.boot_over_restore < SPEED_UP_BAR:
            found.append(f"restore {self.boot_over_restore}x, bar {SPEED_UP_BAR}x")
        return found


def measure_starts(
    launcher: Launcher, request: Request, folder: Path, restored: int, booted: int, count: int
) -> Starts:
    """The counts are of restores, boots, and starts at once."""
    restore = restores(launcher, request, folder, restored)
    boot = boots(launcher, request, folder, booted)
    many = at_once(launcher, request, count)
    return Starts(restore, boot, round(boot.ours_ms / restore.ours_ms, 1), many)


def restores(launcher: Launcher, request: Request, folder: Path, rounds: int) -> Beside:
    """Restore from a template that is there already."""
    launcher.start(request).close()
    return _beside(launcher, request, folder, rounds, bare.restore)


def boots(launcher: Launcher, request: Request, folder: Path, rounds: int) -> Beside:
    """Boot cold."""
    return _beside(launcher, request._replace(use_template=False), folder, rounds, bare.boot)


def at_once(launcher: Launcher, request: Request, count: int) -> list[float]:
    """Milliseconds until the agent answers in each of `count` sandboxes that are restored at the same time."""
    launcher.start(request).close()
    fork = multiprocessing.get_context("fork")
    gate, answers = fork.Barrier(count), fork.Queue()

    def one(number: int) -> None:
        gate.wait()
        seconds, vm = started(launcher, request._replace(id=f"many{number}"))
        gate.wait()
        vm.close()
        answers.put(seconds * 1000)

    workers = [fork.Process(target=one, args=(number,)) for number in range(count)]
    for worker in workers:
        worker.start()
    found = sorted(answers.get() for _ in workers)
    for worker in workers:
        worker.join()
    return [round(value, 1) for value in found]


def started(launcher: Launcher, request: Request) -> tuple[float, Vm]:
    """Seconds until the agent has said hello, and the machine."""
    begin = time.monotonic()
    vm = launcher.start(request)
    try:
        with socket.socket(socket.AF_UNIX) as port:
            port.connect(str(vm.channel_socket))
            Channel(port).greet(bare.AGENT_SECONDS)
    except SandboxError as error:
        words = f"after {cpu_us(vm.child.process.pid) / 1e6:.1f} s of CPU; the guest's console: {vm.console()[-500:]!r}"
        vm.close()
        raise VmmFailed("hello", f"{error}, {words}") from error
    return time.monotonic() - begin, vm


def _beside(launcher: Launcher, request: Request, folder: Path, rounds: int, alone: bare.Measured) -> Beside:
    ours: list[float] = []
    theirs: list[float] = []
    phases: list[dict[str, float]] = []
    for number in range(rounds):
        if number % 2:
            theirs.append(alone(launcher, request, folder))
        seconds, vm = started(launcher, request)
        ours.append(seconds)
        phases.append(dict(vm.started.phases))
        vm.close()
        if vm.started.restored != request.use_template:
            raise RuntimeError(f"not started as asked: {vm.started.why_cold}")
        if not number % 2:
            theirs.append(alone(launcher, request, folder))
    middle = {name: _median_ms([one[name] for one in phases]) for name in phases[0]}
    mine, other = _median_ms(ours), _median_ms(theirs)
    return Beside(mine, other, round(mine / other, 3), rounds, middle)


def _median_ms(seconds: list[float]) -> float:
    return round(statistics.median(seconds) * 1000, 1)
