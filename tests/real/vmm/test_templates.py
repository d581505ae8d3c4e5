"""Templates of booted machines: made once, not believed when changed, collected, and no two restores share bytes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import mmap
import multiprocessing
import os
import signal
import time

import pytest

from sandbox_runtime.channel import Channel
from sandbox_runtime.protocol.messages import Configure, Configured
from sandbox_runtime.vmm import recover
from sandbox_runtime.vmm.launch import Launcher
from sandbox_runtime.vmm.memory import create, held, hold, seal
from sandbox_runtime.vmm.processes import Process
from tests.support.vmm import answers, as_root, at_home, dies, emulated, left_behind, request, session

pytestmark = emulated
AT_ONCE = 5


def key_of(starts: Launcher) -> str:
    return starts.key(request("x"))


def _start_one(starts: Launcher, name: str, answer: object) -> None:
    vm = starts.start(request(name))
    fine = answers(vm) and vm.started.restored
    vm.close()
    answer.put((fine, vm.started.why_cold))  # type: ignore[attr-defined]


def test_many_that_start_at_once_make_one_template(own: Launcher) -> None:
    fork = multiprocessing.get_context("fork")
    answer = fork.Queue()
    workers = [fork.Process(target=_start_one, args=(own, f"c{n}", answer)) for n in range(AT_ONCE)]
    for worker in workers:
        worker.start()
    assert [answer.get(timeout=250) for _ in workers] == [(True, "")] * AT_ONCE
    for worker in workers:
        worker.join()
    assert own.templates.keys() == [key_of(own)]
    assert left_behind(own.paths) == []


def test_a_maker_that_is_killed_leaves_nothing_that_is_used(own: Launcher) -> None:
    maker = os.fork()
    if maker == 0:
        try:
            own.start(request("doomed"))
        finally:
            os._exit(1)
    deadline = time.monotonic() + 60
    found = recover.leftovers(own.paths)
    while not found and time.monotonic() < deadline:
        time.sleep(0.01)
        found = recover.leftovers(own.paths)
    time.sleep(0.5)
    os.kill(maker, signal.SIGKILL)
    os.waitpid(maker, 0)
    assert dies(found[0])
    assert own.templates.keys() == []
    vm = own.start(request("next"))
    assert vm.started.restored, vm.started.why_cold
    vm.close()
    assert recover.sweep_makers(own.paths) == [found[0].sandbox_id]
    assert left_behind(own.paths) == []
    assert not list(own.templates.root.glob(".making-*"))


@pytest.mark.parametrize("part", ["state", "memory", "facts"])
def test_a_template_that_was_changed_is_made_again(own: Launcher, part: str) -> None:
    own.start(request("first")).close()
    key = key_of(own)
    if part == "memory":  # what is loaded cannot be changed: make the next start load it
        Process.parse((own.templates.holders / key).read_text()).end()
    with (own.templates.root / key / part).open("r+b") as file:
        file.seek(40)
        byte = file.read(1)
        file.seek(40)
        file.write(bytes([byte[0] ^ 1]))
    vm = own.start(request("second"))
    try:
        assert vm.started.restored, vm.started.why_cold
        assert answers(vm)
    finally:
        vm.close()


def test_a_template_that_does_not_suit_is_dropped_for_a_cold_boot_that_says_why(own: Launcher) -> None:
    own.start(request("first")).close()
    key = key_of(own)
    place = own.templates.root / key
    state = bytearray((place / "state").read_bytes())
    state[4:8] = b"\xff" * 4  # the version of the stream
    (place / "state").write_bytes(state)
    facts = json.loads((place / "facts").read_text())
    facts[2] = hashlib.sha256(state).hexdigest()
    (place / "facts").write_text(json.dumps(facts))
    vm = own.start(request("second"))
    try:
        assert not vm.started.restored
        assert "load of migration failed" in vm.started.why_cold
        assert answers(vm)
    finally:
        vm.close()
    assert own.templates.keys() == []


def test_the_memory_of_a_template_cannot_be_changed_by_anybody(shared: Launcher) -> None:
    shared.start(request("first")).close()
    fd = held(Process.parse((shared.templates.holders / key_of(shared)).read_text()))
    assert fd is not None
    try:
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
        with pytest.raises(PermissionError):
            mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        with pytest.raises(PermissionError):
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0)
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
        mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE).close()
    finally:
        os.close(fd)


def test_templates_are_collected_but_not_those_in_use(own: Launcher) -> None:
    own.start(request("first")).close()
    key = key_of(own)
    holder = Process.parse((own.templates.holders / key).read_text())
    vm = own.start(request("used"))
    assert own.templates.collect(0, recover.templates_in_use(own.paths)) == []
    vm.close()
    assert own.templates.collect(1 << 40) == []
    vm = own.start(request("user"))
    assert own.templates.collect(0) == [key]
    assert not holder.alive()
    assert answers(vm), "a machine that runs keeps the memory of a template that is gone"
    vm.close()


def test_two_restores_share_no_random_bytes_and_no_identity(shared: Launcher) -> None:
    seen: list[set[bytes]] = []
    for index in range(2):
        vm = shared.start(request(f"twin{index}"))
        try:
            assert vm.started.restored, vm.started.why_cold
            with session(vm) as channel:
                seen.append(identity_of(channel, index))
        finally:
            vm.close()
    assert [len(facts) for facts in seen] == [5, 5]
    assert not seen[0] & seen[1]


def identity_of(channel: Channel, index: int) -> set[bytes]:
    """What a container sees that must be its own: random bytes of three sources, boot id, host name."""
    configure = Configure(os.urandom(64), time.time_ns(), f"host{index}", f"{index}" * 32)
    answer: Configured = channel.call("configure", configure, 30)
    guest = at_home(channel)
    random = [guest.run(["head", "-c", "32", source]) for source in ("/dev/random", "/dev/urandom")]
    kernel = "/proc/sys/kernel/random"
    facts = [*random, guest.run(["cat", f"{kernel}/uuid"])]
    assert all(fact.code == 0 and fact.stdout for fact in facts), facts
    return {fact.stdout for fact in facts} | {answer.boot_id.encode(), f"host{index}".encode()}


@as_root
def test_memory_that_nobody_wrote_down_is_let_go(own: Launcher) -> None:
    own.templates.cgroup.create()
    fd = create(1 << 20)
    seal(fd)
    stray = hold(fd, tuple(own.templates.cgroup.join_files()))
    os.close(fd)
    assert stray.alive()
    own.templates.collect(0)
    assert not stray.alive()
