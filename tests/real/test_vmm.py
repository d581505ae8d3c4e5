"""Real machines under emulation: started both ways, attacked in every phase, and gone without a trace."""

from __future__ import annotations

import fcntl
import hashlib
import json
import mmap
import multiprocessing
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox_runtime.channel import Channel
from sandbox_runtime.errors import BadInput, HostUnfit, VmmFailed
from sandbox_runtime.model import Io
from sandbox_runtime.protocol.messages import Configure, Configured
from sandbox_runtime.vmm import recover, tap, users
from sandbox_runtime.vmm.cgroup import Cgroup
from sandbox_runtime.vmm.launch import Launcher
from sandbox_runtime.vmm.memory import create, held, hold, seal
from sandbox_runtime.vmm.overhead import overhead
from sandbox_runtime.vmm.processes import Process
from tests.support import guest_machine
from tests.support.guest_sessions import GuestSession
from tests.support.vmm import answers, launcher, left_behind, request, session

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(guest_machine.missing()), reason=guest_machine.missing()),
]
BOOTS = int(os.environ.get("BULKHEAD_BOOTS", "1"))
RESTORES = int(os.environ.get("BULKHEAD_RESTORES", "5"))
AT_ONCE = 5
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="users and namespaces are given to a VM by root only")


@pytest.fixture(scope="module")
def shared() -> Iterator[Launcher]:
    """One template store for tests that do it no harm."""
    with launcher() as starts:
        yield starts


@pytest.fixture
def own() -> Iterator[Launcher]:
    with launcher() as starts:
        yield starts


def key_of(starts: Launcher) -> str:
    return starts.key(request("x"))


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def dies(leftover: recover.Leftover) -> bool:
    """Whether it ends within five seconds by itself."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not leftover.running:
            return True
        time.sleep(0.01)
    return False


def descriptors_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


# --- starting ---------------------------------------------------------------------------------------------------


def test_a_cold_boot_brings_an_agent_and_leaves_nothing(shared: Launcher) -> None:
    for index in range(BOOTS):
        vm = shared.start(request(f"cold{index}", use_template=False))
        try:
            assert answers(vm), vm.console()
            assert not vm.started.restored
        finally:
            vm.close()
        assert left_behind(shared.paths) == []


def test_restores_bring_an_agent_each_and_leave_nothing(shared: Launcher) -> None:
    shared.start(request("first")).close()
    before = children()
    descriptors = descriptors_open()
    for index in range(RESTORES):
        vm = shared.start(request(f"r{index}"))
        try:
            assert answers(vm), vm.console()
            assert vm.started.restored, vm.started.why_cold
        finally:
            vm.close()
    assert left_behind(shared.paths) == []
    assert children() == before
    assert descriptors_open() == descriptors


@as_root
def test_a_machine_is_confined(shared: Launcher) -> None:
    vm = shared.start(request("jail"))
    try:
        pid = vm.pids[0]
        facts = status(pid)
        assert all(int(uid) in range(users.FIRST, users.FIRST + users.COUNT) for uid in facts["Uid"].split())
        assert (facts["NoNewPrivs"], facts["Seccomp"], facts["CapPrm"]) == ("1", "2", "0" * 16)
        root = {path.name for path in Path(f"/proc/{pid}/root").iterdir()}
        assert root <= {"usr", "lib", "lib64", "bin", "sbin", "etc", "dev", "proc"}
        for namespace in ("mnt", "net", "ipc", "uts"):
            assert (
                Path(f"/proc/{pid}/ns/{namespace}").readlink()
                != Path(f"/proc/self/ns/{namespace}").readlink()
            )
        assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "500"
        assert Path(f"/proc/{pid}/net/dev").read_text().count(":") == 1  # lo
    finally:
        vm.close()


def test_without_kvm_nothing_starts_unless_emulation_is_allowed(own: Launcher) -> None:
    with pytest.raises(HostUnfit, match="no usable KVM"):
        own.start(request("wall")._replace(allow_emulation=False))
    assert left_behind(own.paths) == []


@as_root
def test_a_machine_with_a_network_card_is_restored_too(own: Launcher) -> None:
    card = tap.open_tap(f"bh{os.getpid()}")
    try:
        vm = own.start(request("wired")._replace(tap=card))
        try:
            assert vm.started.restored, vm.started.why_cold
            with session(vm) as channel:
                guest = GuestSession(None, channel)  # type: ignore[arg-type] # it is asked for its console only
                guest.lay_out_rootfs()
                assert b"eth0" in guest.run(["cat", "/proc/1/net/dev"], namespaces=[{"type": "mount"}]).stdout
        finally:
            vm.close()
    finally:
        os.close(card)
    assert not Path(f"/sys/class/net/bh{os.getpid()}").exists()


@as_root
def test_a_machine_with_a_directory_of_the_host_is_booted(own: Launcher, tmp_path: Path) -> None:
    daemon = Path("/usr/lib/qemu/virtiofsd")
    if not daemon.exists():
        pytest.skip("no C virtiofsd here: apt-get install qemu-system-common")
    (tmp_path / "shared").mkdir()
    socket_path = tmp_path / "s"
    argv = [
        str(daemon),
        f"--socket-path={socket_path}",
        "-o",
        f"source={tmp_path}/shared",
        "-o",
        "sandbox=chroot",
    ]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as serving:
        while not socket_path.exists():
            time.sleep(0.01)
        with socket.socket(socket.AF_UNIX) as way:
            way.connect(str(socket_path))
            vm = own.start(request("sharing")._replace(shares=(("host", way.fileno()),)))
        try:
            assert not vm.started.restored
            assert "virtiofs" in vm.started.why_cold
            assert answers(vm)
        finally:
            vm.close()
            serving.kill()


@as_root
def test_two_machines_have_two_users(shared: Launcher) -> None:
    first, second = shared.start(request("one")), shared.start(request("two"))
    uids = {status(vm.pids[0])["Uid"] for vm in (first, second)}
    first.close()
    second.close()
    assert len(uids) == 2


@as_root
def test_a_machine_is_in_its_control_group_before_it_runs(shared: Launcher) -> None:
    group = Cgroup(f"bulkhead-test-{os.getpid()}")
    group.create(memory_bytes=1 << 30, cpu_milli=1_000)
    vm = shared.start(request("grouped", cgroup=group.path))
    try:
        assert vm.pids[0] in group.processes()
        assert 1 <= group.memory_limit() <= 1 << 30
    finally:
        vm.close()
        assert group.remove()
    assert not any(directory.exists() for directory in group.directories())


# --- templates --------------------------------------------------------------------------------------------------


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
    guest = GuestSession(None, channel)  # type: ignore[arg-type] # it is asked for its console only
    guest.lay_out_rootfs()
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


# --- death ------------------------------------------------------------------------------------------------------


def test_a_vmm_that_is_killed_is_seen_and_cleaned_up(shared: Launcher) -> None:
    vm = shared.start(request("victim"))
    os.kill(vm.pids[0], signal.SIGKILL)
    assert vm.wait(5)
    assert not vm.alive
    with pytest.raises(VmmFailed):
        vm.qmp.command("query-status")
    vm.close()
    assert left_behind(shared.paths) == []


def test_when_we_are_killed_the_vmm_dies_and_can_be_recovered(shared: Launcher) -> None:
    shared.start(request("first")).close()
    reader, writer = os.pipe()
    us = os.fork()
    if us == 0:
        try:
            shared.start(request("orphan"))
            os.write(writer, b"x")
            time.sleep(100)
        finally:
            os._exit(1)
    os.read(reader, 1)
    (found,) = recover.leftovers(shared.paths)
    assert found.running
    os.kill(us, signal.SIGKILL)
    os.waitpid(us, 0)
    assert dies(found)
    recover.end(shared.paths, found)
    assert left_behind(shared.paths) == []
    os.close(reader)
    os.close(writer)


def test_a_vmm_that_cannot_run_says_why_and_leaves_nothing(own: Launcher) -> None:
    own.host = own.host._replace(qemu=Path("/usr/bin/false"))
    with pytest.raises(VmmFailed, match="connect"):
        own.start(request("broken"))
    own.host = own.host._replace(qemu=Path("/usr/bin/no-such-program"))
    with pytest.raises(VmmFailed, match="No such file"):
        own.start(request("missing"))
    assert left_behind(own.paths) == []


# --- disks and memory -------------------------------------------------------------------------------------------


def test_disks_come_and_go_while_the_guest_runs(shared: Launcher, tmp_path: Path) -> None:
    data, more = tmp_path / "data", tmp_path / "more"
    for image in (data, more):
        image.write_bytes(bytes(1 << 20))
    vm = shared.start(request("disks"))
    try:
        assert answers(vm)
        with data.open("r+b") as writable, more.open("rb") as readable:
            vm.disks.attach("data", writable.fileno(), "serial-1", io=Io(write_iops=100))
            vm.disks.attach("more", readable.fileno(), "serial-2", read_only=True)
        vm.disks.throttle("data", Io(read_iops=50))
        assert set(vm.disks.statistics()) == {"data", "more"}
        for name in ("data", "more"):
            vm.disks.detach(name)
        assert vm.disks.statistics() == {}
        assert [fds["fdset-id"] for fds in vm.qmp.command("query-fdsets") if fds["fds"]] == []
    finally:
        vm.close()


def test_a_disk_that_another_machine_writes_is_refused_and_no_part_of_it_stays(
    shared: Launcher, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    first, second = shared.start(request("first")), shared.start(request("second"))
    try:
        assert answers(second)
        with image.open("r+b") as ours, image.open("r+b") as theirs:
            first.disks.attach("mine", ours.fileno(), "s")
            with pytest.raises(VmmFailed, match="lock"):
                second.disks.attach("mine", theirs.fileno(), "s", io=Io(write_iops=1))
        assert [fds for fds in second.qmp.command("query-fdsets") if fds["fds"]] == []
        assert second.qmp.command("qom-list", path="/objects") == first.qmp.command(
            "qom-list", path="/objects"
        )
        first.kill()
        assert first.wait(5)
        with image.open("r+b") as again:
            second.disks.attach("mine", again.fileno(), "s", io=Io(write_iops=1))
    finally:
        first.close()
        second.close()


def test_a_disk_whose_file_is_open_the_wrong_way_is_refused_before_qemu_is_asked(
    shared: Launcher, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    vm = shared.start(request("wrong"))
    try:
        with image.open("rb") as readable, pytest.raises(BadInput, match="both ways"):
            vm.disks.attach("d", readable.fileno(), "s")
        with image.open("rb") as readable, pytest.raises(BadInput, match="no name"):
            vm.disks.attach("d,x=y", readable.fileno(), "s", read_only=True)
        with image.open("rb") as readable, pytest.raises(BadInput, match="serial"):
            vm.disks.attach("d", readable.fileno(), "s" * 37, read_only=True)
    finally:
        vm.close()


def test_the_overhead_is_told_apart_from_the_memory_of_the_guest(shared: Launcher) -> None:
    vm = shared.start(request("cost"))
    try:
        assert answers(vm)
        cost = overhead(vm, helpers=[os.getpid()])
    finally:
        vm.close()
    assert cost.accel == "tcg"
    assert 0 < cost.guest_private_bytes + cost.guest_template_bytes < vm.memory_bytes
    assert 0 < cost.translated_bytes <= 64 << 20
    assert 0 < cost.vmm_bytes < 100 << 20
    held = cost.vmm_bytes + cost.translated_bytes + cost.helper_bytes
    assert cost.total_bytes == held + cost.guest_private_bytes + cost.guest_template_bytes
    assert cost.further_bytes == cost.total_bytes - cost.guest_template_bytes
