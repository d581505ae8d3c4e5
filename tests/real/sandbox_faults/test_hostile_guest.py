"""A guest kernel and agent that were taken over: whatever they say, the host says so, bounded, and goes on.

BULKHEAD_FAULT_CELLS=all adds the guests that are silent, which takes minutes: the host is patient with slow ones.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from sandbox_runtime.command.client import Gone, connect
from sandbox_runtime.command.run_command import add_parser, order_of
from sandbox_runtime.guest.build import build
from sandbox_runtime.lifecycle import journal, recover
from sandbox_runtime.model import GuestImage
from sandbox_runtime.paths import Paths
from sandbox_runtime.rootfs.cache import LayerCache
from sandbox_runtime.rootfs.image.source import open_image
from sandbox_runtime.rootfs.lower import of_image
from sandbox_runtime.supervisor import order as orders
from sandbox_runtime.supervisor import spawn
from tests.support.go_programs import program
from tests.support.stands import CLEAN_SECONDS, ROOT, Stand, stand, unfit

pytestmark = pytest.mark.real

HOSTILE = Path(__file__).parent / "hostile/main.go"
AGENT = ROOT / "sandbox_runtime/guest/agent"
PEAK_KIB = 96 * 1024  # of the supervisor: what a guest can make it hold is bounded by the protocol

BEFORE = [
    "garbage",
    "power-off",
    "giant",
    "not-json",
    "deep-json",
    "wrong-type",
    "future",
    "long-names",
    "no-hello",
]
AFTER = [
    "twice",
    "strange-answer",
    "wrong-answer",
    "strange-stream",
    "strange-credit",
    "strange-kind",
    "unknown-event",
    "garbage-later",
    "power-off-later",
    "escape-codes",
]
STARTED = ["run-events", "run-bad-code", "run-overflow", "run-garbage", "run-panic", "run-power-off"]
PATIENT = [
    "silent",
    "mute",
    "half-a-frame",
    "pongs",
    "events",
]  # the host is patient with a slow guest, for a minute
SMALL = ["garbage", "giant", "deep-json", "strange-stream", "run-overflow", "run-panic"]


class Told(NamedTuple):
    """How it ended: the code that a caller sees, what was said, the supervisor's peak of memory, seconds."""

    code: int
    said: str
    peak_kib: int
    seconds: float


class Occupied(NamedTuple):
    """A stand whose guests are hostile, and an honest sandbox on it."""

    house: Stand
    guest: GuestImage
    honest: str

    def run(self, how: str) -> Told:
        """A sandbox with the guest that does `how`, until it is over."""
        name, paths = self.house.name("h"), self.house.paths
        guest = self.guest._replace(cmdline=f"{self.guest.cmdline} hostile={how}")
        lock = journal.claim(paths, name)
        of_image(LayerCache(paths.layers), name, open_image(self.house.image))
        orders.write(paths.sandbox(name), self._order(name)._replace(guest=guest))
        begin = time.monotonic()
        born = spawn.start(paths, name, lock)
        os.close(lock)
        with peak_of(born.pid) as peak:
            told = {}
            for told in born.news():  # noqa: B007 - the last one counts
                pass
            if told.get("ready"):
                told = self._follow(name)
            born.reap()
        took = time.monotonic() - begin
        outcome = journal.read_outcome(paths.sandbox(name))
        recover.remove(paths, name)
        code = told.get("code") if told.get("code") is not None else outcome.get("code")
        said = f"{told.get('failed', '')} {told.get('why', '')} {outcome.get('reason')}"
        return Told(int(code or 0), said, peak[0], took)

    def _follow(self, name: str) -> dict[str, object]:
        with connect(self.house.paths, name) as client:
            client.send(op="attach", start=True)
            found: dict[str, object] = {}
            try:
                while "over" not in found:
                    found = client.answer()
            except Gone as gone:
                return {"code": 255, "why": str(gone)}
            return found

    def _order(self, name: str) -> orders.Order:
        parser = argparse.ArgumentParser()
        add_parser(parser.add_subparsers())
        words = self.house.run_words(name, ["--cold"], ["sleep", "300"])
        return order_of(parser.parse_args(words[words.index("run") :]))


@contextlib.contextmanager
def peak_of(pid: int) -> Iterator[list[int]]:
    """The most memory that a process has had at once, in KiB, looked at until the end."""
    found, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            with contextlib.suppress(OSError, IndexError):
                text = Path(f"/proc/{pid}/status").read_text()
                found[0] = max(found[0], int(text.split("VmHWM:")[1].split()[0]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


@pytest.fixture(scope="module")
def occupied() -> Iterator[Occupied]:
    if why := unfit():
        pytest.skip(why)
    agent = program(AGENT, ((AGENT / "main.go", HOSTILE),))
    if agent is None:
        pytest.skip("no Go toolchain: apt-get install golang-go")
    with stand() as house:
        own = Paths(house.root / "hostile-run", house.root / "hostile-cache")
        guest = build(own, agent=agent)
        honest = house.detached("sleep", "3600")
        yield Occupied(house, guest, honest)


def chosen() -> list[str]:
    if os.environ.get("BULKHEAD_FAULT_CELLS") == "all":
        return [*BEFORE, *AFTER, *STARTED, *PATIENT]
    return SMALL


@pytest.mark.parametrize("how", chosen())
@pytest.mark.timeout(600)
def test_a_hostile_guest_gets_a_clear_refusal_and_harms_nobody(occupied: Occupied, how: str) -> None:
    before = occupied.house.traces()
    told = occupied.run(how)
    assert told.code != 0, told
    assert told.said.strip(), told
    assert "\x1b" not in told.said
    assert told.peak_kib < PEAK_KIB, told
    deadline = time.monotonic() + CLEAN_SECONDS
    while (left := occupied.house.traces().since(before)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
    alive = occupied.house.command("exec", occupied.honest, "echo", "here")
    assert alive.stdout == "here\n", alive.stderr
