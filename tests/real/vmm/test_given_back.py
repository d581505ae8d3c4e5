"""Memory that the guest of a restored machine frees goes back to the host, and the template does not change by it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from sandbox_runtime.model import MIB
from sandbox_runtime.vmm import backing
from sandbox_runtime.vmm.backing import extents
from sandbox_runtime.vmm.launch import Launcher
from sandbox_runtime.vmm.memory import NAME, held
from sandbox_runtime.vmm.overhead import mappings
from sandbox_runtime.vmm.processes import Process
from sandbox_runtime.vmm.vm import Vm
from tests.support.guest_sessions import GuestSession
from tests.support.sandboxes import until
from tests.support.vmm import answers, as_root, at_home, emulated, left_behind, request, session

pytestmark = emulated

MEMORY_MIB = 192  # of the container; the machine is of the class of 256 MiB
FILLED = 80 * MIB
BACK_SECONDS = 60.0  # the guest reports every two seconds; emulated on a loaded machine it takes its time
CAP_SYS_PTRACE = 19


def own_pages(vm: Vm) -> int:
    """Bytes of guest memory that are this machine's alone."""
    smaps = Path(f"/proc/{vm.child.process.pid}/smaps").read_text()
    return sum(each.anonymous_bytes for each in mappings(smaps) if each.of_guest)


def has_fallen(vm: Vm, below: float) -> bool:
    return own_pages(vm) < below


def template_now(starts: Launcher, key: str) -> tuple[str, int]:
    """Digest of a template's memory, and what it takes of the host's."""
    fd = held(Process.parse((starts.templates.holders / key).read_text()))
    assert fd is not None
    digest, size = hashlib.sha256(), os.fstat(fd).st_blocks * 512
    for part in extents(fd, 1):  # a hole that is read is filled
        for offset in range(part.start, part.end, 4096):
            page = os.pread(fd, 4096, offset)
            if any(page):  # a page of zeroes is as good as none
                digest.update(b"%d:%b" % (offset, page))
    os.close(fd)
    return digest.hexdigest(), size


@contextmanager
def container(vm: Vm) -> Iterator[tuple[GuestSession, str]]:
    """One that runs; commands are executed in it."""
    with session(vm) as channel:
        guest = at_home(channel)
        name, _, _ = guest.create(["sleep", "1000"])
        guest.start(name)
        yield guest, name


def shell(guest: GuestSession, name: str, script: str) -> str:
    ran = guest.exec(name, ["sh", "-c", script])
    assert ran.code == 0, ran.stderr
    return ran.stdout.decode().strip()


def fill(word: str) -> tuple[str, str]:
    """A script that fills a file in the guest's memory and says its digest, and that digest."""
    line = f"{word}\n".encode()
    content = (line * (FILLED // len(line) + 1))[:FILLED]
    return f"yes {word} | head -c {FILLED} > /tmp/big; sha256sum < /tmp/big", hashlib.sha256(
        content
    ).hexdigest()


def test_freed_memory_goes_back_and_neighbour_and_template_stay_as_they_are(own: Launcher) -> None:
    one, other = own.start(request("one", MEMORY_MIB)), own.start(request("other", MEMORY_MIB))
    try:
        assert one.started.restored, one.started.why_cold
        assert not one.started.why_kept
        before, size = template_now(own, one.started.template)
        with container(one) as (guest, name), container(other) as (neighbour, neighbours):
            script, digest = fill("neighbour")
            kept = shell(neighbour, neighbours, script)
            assert kept.startswith(digest)
            for word in ("first", "second"):  # what was given back takes new data, and is given back again
                idle = own_pages(one)
                script, digest = fill(word)
                assert shell(guest, name, script).startswith(digest)
                full = own_pages(one)
                assert full - idle > FILLED * 0.7
                shell(guest, name, "rm /tmp/big")
                assert until(partial(has_fallen, one, full - FILLED * 0.8), BACK_SECONDS)
            assert own_pages(other) > FILLED, "the neighbour has freed nothing"
            assert shell(neighbour, neighbours, "sha256sum < /tmp/big") == kept
        after, grown = template_now(own, one.started.template)
        assert after == before
        assert grown - size < 4 * MIB, "what machines write to is not the template's to hold"
        assert "discard" not in one.said()
    finally:
        one.close()
        other.close()
    assert left_behind(own.paths) == []


def test_what_the_balloon_takes_goes_back_too(own: Launcher) -> None:
    vm = own.start(request("blown", MEMORY_MIB))
    try:
        assert vm.started.restored, vm.started.why_cold
        assert not vm.started.why_kept
        with container(vm) as (guest, name):
            script, digest = fill("ballast")
            shell(guest, name, f"{script}; rm /tmp/big")
            small = vm.memory_bytes - FILLED
            vm.set_memory(small)
            assert until(lambda: vm.usable_memory() == small, BACK_SECONDS)
            vm.set_memory(vm.memory_bytes)
            assert until(lambda: vm.usable_memory() == vm.memory_bytes, BACK_SECONDS)
            assert shell(guest, name, script).startswith(digest)
        assert "discard" not in vm.said()
    finally:
        vm.close()


def test_a_restored_machine_reaches_the_template_by_its_private_mapping_alone(shared: Launcher) -> None:
    vm = shared.start(request("private"))
    try:
        assert vm.started.restored, vm.started.why_cold
        process = Path(f"/proc/{vm.child.process.pid}")
        mapped = [line for line in (process / "maps").read_text().splitlines() if NAME in line]
        assert mapped
        assert {line.split()[1] for line in mapped} == {"rw-p"}
        assert not [
            link for link in (fd.readlink() for fd in (process / "fd").iterdir()) if NAME in str(link)
        ]
    finally:
        vm.close()


class Header(ctypes.Structure):
    """cap_user_header_t."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def forget_ptrace() -> None:
    """Give the capability up: QEMU, of another user, can then not be traced."""
    header, data = Header(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None)
    assert libc.capget(ctypes.byref(header), data) == 0
    data[0] &= ~(1 << CAP_SYS_PTRACE)
    data[1] &= ~(1 << CAP_SYS_PTRACE)
    assert libc.capset(ctypes.byref(header), data) == 0


@as_root
def test_where_qemu_cannot_be_traced_a_machine_is_restored_and_says_that_it_keeps_its_memory(
    shared: Launcher,
) -> None:
    shared.start(request("first")).close()
    child = os.fork()
    if child == 0:
        fine = False
        try:
            forget_ptrace()
            vm = shared.start(request("untraced"))
            fine = vm.started.restored and "cannot be" in vm.started.why_kept and answers(vm)
            vm.close()
        finally:
            os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert left_behind(shared.paths) == []


def test_a_qemu_that_is_killed_before_its_memory_is_laid_is_started_again(
    shared: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = backing.put

    def kill_first(
        pid: int, size_bytes: int, theirs: int, memory: int, parts: Sequence[backing.Extent]
    ) -> None:
        os.kill(pid, signal.SIGKILL)
        put(pid, size_bytes, theirs, memory, parts)

    shared.start(request("first")).close()
    monkeypatch.setattr(backing, "put", kill_first)
    vm = shared.start(request("killed"))
    try:
        assert vm.started.restored, vm.started.why_cold
        assert vm.started.why_kept
        assert answers(vm)
    finally:
        vm.close()
    assert left_behind(shared.paths) == []
