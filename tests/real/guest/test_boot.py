"""The guest as a whole: it boots, every time, ends as it should, and a new host always gets in."""

from __future__ import annotations

import os
import statistics
import time

import pytest

from sandbox_runtime.channel import Channel
from sandbox_runtime.model import GuestImage
from sandbox_runtime.protocol import messages
from tests.support.guest_sessions import booted

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
BOOTS = int(os.environ.get("BULKHEAD_TEST_BOOTS", "3"))


def test_it_boots_every_time(guest: GuestImage) -> None:
    """BULKHEAD_TEST_BOOTS=200 is the long form. Prints the phases of the guest's start."""
    seconds, phases = [], []
    for _ in range(BOOTS):
        begin = time.monotonic()
        with booted(guest) as session:
            seconds.append(time.monotonic() - begin)
            assert session.channel.hello is not None
            phases.append({phase.name: phase.at_us // 1000 for phase in session.channel.hello.phases})
    names = {name: statistics.median(each[name] for each in phases) for name in phases[0]}
    print(f"{BOOTS} boots, accel=tcg: {statistics.median(seconds):.2f} s to hello, at ms since boot: {names}")  # noqa: T201


def test_shutting_down_ends_the_machine(guest: GuestImage) -> None:
    with booted(guest) as session:
        session.lay_out_rootfs()
        name, _, _ = session.create(["sleep", "1000"])
        session.start(name)
        assert session.channel.call("shutdown", messages.Shutdown(200), 60) == messages.Nothing()
        assert session.machine.process.wait(60) == 0


def test_a_host_may_come_and_go_at_any_time(guest: GuestImage) -> None:
    with booted(guest) as session:
        for attempt in range(10):
            session.channel.close()
            raw = session.machine.connect()
            raw.sendall(
                os.urandom(50_000 * (attempt % 3)) + b"\x01\x01\0\0\x05\0\0\0\xff\xff\0\0half a request"
            )
            raw.close()
            session.channel = Channel(session.machine.connect(), take_over=True)
            session.channel.greet(60)
            session.channel.ping(60)
        session.channel.close()
