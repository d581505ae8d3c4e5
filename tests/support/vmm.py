"""Real machines for tests: a launcher in directories of its own, the guest built once, and a count of what is left."""

from __future__ import annotations

import functools
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox_runtime.channel import Channel
from sandbox_runtime.guest.build import build
from sandbox_runtime.model import MIB, Accel, AccelKind, GuestImage, Limits
from sandbox_runtime.paths import Paths
from sandbox_runtime.supervisor.greeting import greet
from sandbox_runtime.vmm.cgroup import Cgroup
from sandbox_runtime.vmm.host import this_host
from sandbox_runtime.vmm.launch import Launcher, Request
from sandbox_runtime.vmm.recover import Leftover
from sandbox_runtime.vmm.sizing import size_of
from sandbox_runtime.vmm.templates import Templates
from sandbox_runtime.vmm.vm import Vm
from tests.support import guest_machine
from tests.support.guest_sessions import GuestSession

EMULATED = Accel(AccelKind.TCG, False, "a test")
AGENT_SECONDS = 120
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="users and namespaces are given to a VM by root only")
emulated = [
    pytest.mark.real,
    pytest.mark.skipif(bool(guest_machine.missing()), reason=guest_machine.missing()),
]
"""Marks of a module whose tests start machines."""


@functools.cache
def guest_image() -> GuestImage:
    """The guest, built once per session, or found in $BULKHEAD_TEST_CACHE."""
    cache = os.environ.get("BULKHEAD_TEST_CACHE") or tempfile.mkdtemp(prefix="bulkhead-guest-")
    return build(Paths(Path(cache, "run"), Path(cache)))


@contextmanager
def session(vm: Vm) -> Iterator[Channel]:
    """A session with the agent of `vm`, begun."""
    port = socket.socket(socket.AF_UNIX)
    port.connect(str(vm.channel_socket))
    channel = Channel(port)
    try:
        channel.greet(AGENT_SECONDS)
        yield channel
    finally:
        channel.close()


def at_home(channel: Channel) -> GuestSession:
    """What containers are made with in the guest behind `channel`, their root laid out; it has no console."""
    guest = GuestSession(None, channel)  # type: ignore[arg-type] # it is asked for its console only
    guest.lay_out_rootfs()
    return guest


def answers(vm: Vm) -> bool:
    """Whether the agent of `vm` says hello."""
    with session(vm):
        return True


def request(name: str, memory_mib: int = 128, use_template: bool = True, cgroup: str = "") -> Request:
    """A machine of one processor."""
    return Request(
        id=name,
        guest=guest_image(),
        size=size_of(Limits(1_000, memory_mib * MIB)),
        accel=EMULATED,
        cgroup=Cgroup(cgroup),
        use_template=use_template,
        allow_emulation=True,
    )


@contextmanager
def launcher() -> Iterator[Launcher]:
    """A launcher with stores of its own; at the end everything is given back."""
    root = Path(tempfile.mkdtemp(prefix="bh-"))
    paths = Paths(root / "run", root / "cache")
    templates = Templates(paths, Cgroup(f"bulkhead-test-{root.name}"))
    try:
        yield Launcher(paths, this_host(), templates, lambda vm: greet(vm).close())
    finally:
        templates.collect(0)
        left = [directory for directory in templates.cgroup.directories() if directory.exists()]
        assert left == []
        shutil.rmtree(root)


def dies(leftover: Leftover) -> bool:
    """Whether it ends within five seconds by itself."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not leftover.running:
            return True
        time.sleep(0.01)
    return False


def left_behind(paths: Paths) -> list[str]:
    """What is there that no running machine explains: files, users, descriptors of dead machines."""
    places = (paths.sandboxes, paths.uids)
    return [str(path) for place in places if place.is_dir() for path in place.iterdir()]
