"""Processes named for ever, users claimed once, children that give everything up or say why not."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from sandbox_runtime.errors import BadInput, JournalCorrupt, VmmFailed
from sandbox_runtime.paths import Paths
from sandbox_runtime.vmm import users
from sandbox_runtime.vmm.cgroup import Cgroup
from sandbox_runtime.vmm.confine import Confinement
from sandbox_runtime.vmm.processes import Process, ended
from sandbox_runtime.vmm.spawn import Child, spawn
from sandbox_runtime.vmm.vm import reap

SLEEP = ["/bin/sleep", "100"]


def outcome(child: Child) -> str:
    assert ended(child.pidfd, 10)
    said = os.read(child.output, 65_536).decode()
    reap(child)
    return said


# --- processes ----------------------------------------------------------------------------------------------


def test_a_process_is_told_from_a_later_one_with_its_pid() -> None:
    mine = Process.of(os.getpid())
    assert mine.alive()
    assert Process.parse(str(mine)) == mine
    assert not mine._replace(started=mine.started + 1).alive()
    assert not mine._replace(boot="another").alive()


def test_ending_spares_whoever_has_the_pid_now() -> None:
    with subprocess.Popen(SLEEP) as other:
        stale = Process.of(other.pid)
        assert stale._replace(started=1).end()
        assert other.poll() is None
        assert stale.end()
        assert other.wait() == -signal.SIGKILL
    assert stale.end()
    assert not stale.alive()


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen(["/bin/true"])
    known = Process.of(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not known.alive()
    child.wait()


@pytest.mark.parametrize("line", ["", "1", "a b c", "1 2 3 4", "\0"])
def test_a_damaged_record_is_an_error(line: str) -> None:
    with pytest.raises(JournalCorrupt):
        Process.parse(line)


# --- users --------------------------------------------------------------------------------------------------


def test_each_sandbox_has_its_own_user_and_keeps_it(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    for name in ("a", "b"):
        paths.sandbox(name).mkdir(parents=True)
    first, second = users.claim(paths, "a"), users.claim(paths, "b")
    assert first != second
    assert users.claim(paths, "a") == first
    users.release(paths, "b", first)
    assert users.claim(paths, "a") == first


def test_a_user_is_free_again_when_its_sandbox_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "COUNT", 1)
    paths = Paths(tmp_path, tmp_path)
    paths.sandbox("a").mkdir(parents=True)
    uid = users.claim(paths, "a")
    with pytest.raises(Exception, match="no user id is free"):
        users.claim(paths, "b")
    paths.sandbox("a").rmdir()
    assert users.claim(paths, "b") == uid


# --- children -----------------------------------------------------------------------------------------------


def test_a_child_has_the_descriptors_it_was_given_and_no_other() -> None:
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    child = spawn(["/bin/sh", "-c", "ls /proc/self/fd; echo hello >&5"], [(writer, 5)], Confinement())
    lines = outcome(child).split()
    assert sorted(map(int, lines)) == [0, 1, 2, 3, 5]  # 3 is the directory that ls reads
    assert os.read(reader, 100) == b"hello\n"
    os.close(reader)
    os.close(writer)


def test_a_program_that_is_not_there_is_an_error_of_the_parent() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(VmmFailed, match="No such file"):
        spawn(["/no/such/program"], [], Confinement())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_nothing_runs_that_could_not_be_written_down(tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    def refuse(process: Process) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        spawn(["/bin/touch", str(mark)], [], Confinement(), refuse)
    time.sleep(0.05)
    assert not mark.exists()


def test_a_child_that_talks_too_much_is_not_held_up() -> None:
    child = spawn(
        ["/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo 12345678; i=$((i+1)); done"],
        [],
        Confinement(),
    )
    assert ended(child.pidfd, 20), "it stands still on a full pipe"
    reap(child)


def test_a_child_dies_with_its_parent() -> None:
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        child = spawn(SLEEP, [], Confinement())
        os.write(writer, str(child.process).encode())
        os._exit(0)
    os.waitpid(parent, 0)
    orphan = Process.parse(os.read(reader, 200).decode())
    deadline = time.monotonic() + 5
    while orphan.alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not orphan.alive()
    os.close(reader)
    os.close(writer)


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and users need root")
def test_a_jailed_child_sees_nothing_of_the_host(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    jail = tmp_path / "jail"
    jail.mkdir()
    script = f"id -u; cat {secret} /etc/shadow; touch /x /usr/x; ls / /proc/1; kill -0 1"
    said = outcome(spawn(["/bin/sh", "-c", script], [], Confinement(uid=users.FIRST, jail=str(jail))))
    assert str(users.FIRST) in said
    assert said.count("No such file") == 3
    assert said.count("Read-only file system") == 2
    assert "Operation not permitted" in said or "No such process" in said
    assert list(jail.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
def test_a_jail_that_cannot_be_made_is_an_error_of_the_parent(tmp_path: Path) -> None:
    with pytest.raises(VmmFailed, match="mount"):
        spawn(SLEEP, [], Confinement(uid=users.FIRST, jail=str(tmp_path / "missing")))


# --- control groups -----------------------------------------------------------------------------------------


def test_a_group_never_leaves_its_hierarchy() -> None:
    with pytest.raises(BadInput):
        Cgroup("a/../../b").directories()
    assert Cgroup("").directories() == []


def test_the_smallest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("memory cpu")
    inner = tmp_path / "pods" / "one"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (tmp_path / "pods" / "memory.max").write_text("1048576\n")
    (inner / "cgroup.procs").write_text("12\n13\n")
    group = Cgroup("/pods/one", tmp_path)
    assert (group.unified, group.memory_limit(), group.processes()) == (True, 1 << 20, {12, 13})
    assert group.join_files() == [inner / "cgroup.procs"]


def test_settings_are_written_in_the_words_of_either_version(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("memory cpu")
    place = tmp_path / "one"
    place.mkdir()
    for name in ("memory.max", "cpu.max"):
        (place / name).write_text("max")
    Cgroup("one", tmp_path).create(memory_bytes=1 << 20, cpu_milli=1_500)
    assert [(place / name).read_text() for name in ("memory.max", "cpu.max")] == ["1048576", "150000 100000"]


@pytest.mark.real
@pytest.mark.skipif(not os.access("/sys/fs/cgroup", os.W_OK), reason="may not make control groups")
def test_a_real_group_is_made_joined_and_removed() -> None:
    outer = Cgroup(f"bulkhead-unit-{os.getpid()}")
    group = Cgroup(f"{outer.path}/inner")
    group.create(memory_bytes=64 << 20, cpu_milli=500)
    child = spawn(SLEEP, [], Confinement(cgroup=tuple(group.join_files())))
    try:
        assert group.processes() == {child.process.pid}
    finally:
        child.process.end()
        reap(child)
    assert group.remove()
    assert group.remove()
    assert outer.remove()
