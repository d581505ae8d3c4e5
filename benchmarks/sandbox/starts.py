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
from sandbox_runtime.vmm.launch import Launcher, Request
from sandbox_runtime.vmm.overhead import overhead
from sandbox_runtime.vmm.vm import Vm

SETTLE_SECONDS = 1.0  # a guest that has just answered still writes pages


class Beside(NamedTuple):
    """Milliseconds of both until the agent answers, medians; the ratio is of the medians."""

    ours_ms: float
    bare_ms: float
    ratio: float
    rounds: int
    phases_ms: dict[str, float]


class Cost(NamedTuple):
    """Bytes that one idle sandbox takes, and the bar: 64 MiB and 2 % of its memory."""

    memory_bytes: int
    vmm_bytes: int
    guest_bytes: int
    total_bytes: int
    bar_bytes: int


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


def cost(launcher: Launcher, request: Request, memory_request: int) -> Cost:
    """An idle sandbox without the process that owns it, which here is this benchmark."""
    launcher.start(request).close()
    _, vm = started(launcher, request)
    try:
        time.sleep(SETTLE_SECONDS)
        found = overhead(vm)
    finally:
        vm.close()
    bar = (64 << 20) + memory_request // 50
    return Cost(memory_request, found.vmm_bytes, found.guest_resident_bytes, found.total_bytes, bar)


def started(launcher: Launcher, request: Request) -> tuple[float, Vm]:
    """Seconds until the agent has said hello, and the machine."""
    begin = time.monotonic()
    vm = launcher.start(request)
    with socket.socket(socket.AF_UNIX) as port:
        port.connect(str(vm.channel_socket))
        Channel(port).greet(bare.AGENT_SECONDS)
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
