"""The figures of one sandbox, as one JSON object: what its processes take, what its guest says, what its disks did.

One request to the agent and one to the monitor per scrape; the answer is kept for a moment, so that several scrapers
cost no more than one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandbox_runtime.errors import SandboxError
from sandbox_runtime.protocol import messages
from sandbox_runtime.protocol.codec import plain
from sandbox_runtime.protocol.errors import RequestFailed
from sandbox_runtime.supervisor.sandbox import Sandbox
from sandbox_runtime.vmm.overhead import overhead

FRESH_SECONDS = 1.0
AGENT_SECONDS = 2.0
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

Then = Callable[[dict[str, Any]], None]


class Figures:
    """Asks, and remembers for a moment."""

    def __init__(self, sandbox: Sandbox, reaper: int) -> None:
        self._sandbox, self._reaper = sandbox, reaper
        self._kept: dict[str, Any] = {}
        self._at = float("-inf")
        self._waiting: list[Then] = []

    def ask(self, then: Then) -> None:
        """Give the figures to `then`, now or when the guest has answered; a guest that does not answer is left out."""
        if time.monotonic() - self._at < FRESH_SECONDS:
            then(self._kept)
            return
        self._waiting.append(then)
        if len(self._waiting) > 1:
            return
        channel = self._sandbox.host.channel
        if channel is None:
            self._answer(None)
            return
        self._round = round_ = object()
        channel.request("stats", messages.AskStats(()), lambda answer: self._answer(answer, round_))
        self._sandbox.loop.later(AGENT_SECONDS, lambda: self._answer(None, round_))

    def _answer(self, answer: Any, round_: object = None) -> None:
        if round_ is not None and round_ is not self._round:
            return
        self._round = None
        self._kept = self._host()
        if answer is not None and not isinstance(answer, RequestFailed):
            self._kept |= plain(answer)
        self._at = time.monotonic()
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(self._kept)

    def _host(self) -> dict[str, Any]:
        sandbox = self._sandbox
        vm = sandbox.host.vm
        pids = [*self._helpers(), *(vm.pids if vm else ())]
        found = sandbox.outcome() | {
            "id": sandbox.order.spec.id,
            "cpu_us": sum(cpu_us(pid) for pid in pids),
            "rss_bytes": sum(rss_bytes(pid) for pid in pids),
            "processes": len(pids),
            "disks": {},
        }
        if vm is not None:
            try:
                found["disks"] = vm.disks.statistics()
            except SandboxError as error:
                found["disks_why"] = str(error)
        return found

    def overhead(self) -> dict[str, Any]:
        """What the sandbox takes beyond its containers, in proportional sizes."""
        vm = self._sandbox.host.vm
        if vm is None:
            return {"error": "the sandbox does not run"}
        containers = sum(each.get("memory_bytes", 0) for each in self._kept.get("containers", ()))
        found = overhead(vm, self._helpers(), containers)
        sums = {name: getattr(found, name) for name in ("guest_bytes", "total_bytes", "further_bytes")}
        return found._asdict() | sums

    def _helpers(self) -> list[int]:
        """All processes of the sandbox but QEMU: ourselves, who cleans up after us, the virtiofsds."""
        return [os.getpid(), self._reaper, *(child.process.pid for child in self._sandbox.host.helpers)]


def cpu_us(pid: int) -> int:
    """CPU time of a process so far; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) * 1_000_000 // _TICK


def rss_bytes(pid: int) -> int:
    """Resident memory of a process, shared pages included; 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0
