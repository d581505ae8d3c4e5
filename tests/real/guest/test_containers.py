"""Containers in a booted guest: exits, output, memory, signals, terminals, zombies. One guest for the module."""

from __future__ import annotations

import json
import os
import time
import zlib

import pytest

from sandbox_runtime.channel import Channel
from sandbox_runtime.protocol import messages
from sandbox_runtime.protocol.errors import RequestFailed
from tests.support.guest_sessions import ROOTFS, GuestSession, config, process

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
MIB = 1 << 20
EXIT_CODES = (0, 1, 2, 42, 127, 255)


@pytest.mark.parametrize("code", EXIT_CODES)
def test_a_container_ends_with_its_own_status(session: GuestSession, code: int) -> None:
    assert session.run(["sh", "-c", f"echo out; echo err >&2; exit {code}"]) == (code, b"out\n", b"err\n")


def test_the_kernel_is_the_guests_own(session: GuestSession) -> None:
    assert session.channel.hello is not None
    release = session.run(["cat", "/proc/sys/kernel/osrelease"]).stdout.decode().strip()
    assert release == session.channel.hello.kernel


def test_eight_mib_then_exit_loses_nothing(session: GuestSession) -> None:
    finished = session.run(["dd", "if=/dev/zero", "bs=65536", "count=128", "status=none"])
    assert (finished.code, len(finished.stdout), finished.stderr) == (0, 8 * MIB, b"")


def test_execs_end_with_their_own_status(session: GuestSession) -> None:
    name, _, _ = session.create(["sleep", "1000"])
    session.start(name)
    codes = [session.exec(name, ["sh", "-c", f"exit {code}"]).code for code in EXIT_CODES]
    session.channel.call("signal", messages.Signal(name, "", 9, False), 60)
    assert (codes, session.wait(name)) == (list(EXIT_CODES), 137)
    session.remove(name)


def test_twenty_mib_through_cat_are_exact(session: GuestSession) -> None:
    content = bytes(range(256)) * (20 * MIB // 256)
    name, _, _ = session.create(["sleep", "1000"])
    session.start(name)
    finished = session.exec(name, ["cat"], stdin=content)
    assert (len(finished.stdout), zlib.crc32(finished.stdout)) == (len(content), zlib.crc32(content))
    session.remove(name)


def test_a_command_that_is_not_there_fails_and_leaves_the_container_be(session: GuestSession) -> None:
    name, _, _ = session.create(["sleep", "1000"])
    session.start(name)
    begin = time.monotonic()
    with pytest.raises(RequestFailed, match="not found"):
        session.exec(name, ["nosuch"])
    assert time.monotonic() - begin < 30
    assert session.exec(name, ["true"]).code == 0
    session.remove(name)


def test_a_container_whose_command_is_not_there_leaves_nothing(session: GuestSession) -> None:
    with pytest.raises(RequestFailed, match="not found"):
        session.create(["nosuch"])
    assert session.channel.call("list", messages.List(), 60) == messages.Listed(())


@pytest.mark.parametrize(("number", "code"), [(15, 143), (9, 137), (1, 129)])
def test_a_death_by_signal_is_128_and_its_number(session: GuestSession, number: int, code: int) -> None:
    # a first process of a pid namespace ignores signals that it does not handle, so its child is asked to die
    name, _, _ = session.create(["sleep", "1000"])
    session.start(name)
    out, exec_id = session.channel.reader(), session.name()
    stdio = messages.Stdio(0, out.number, 0, False, 0, 0)
    session.channel.call(
        "exec", messages.Exec(name, exec_id, json.dumps(process(["sleep", "1000"])), stdio), 60
    )
    session.channel.call("signal", messages.Signal(name, exec_id, number, False), 60)
    assert session.wait(name, exec_id) == code
    with pytest.raises(RequestFailed, match="has ended"):
        session.channel.call("signal", messages.Signal(name, exec_id, number, False), 60)
    session.remove(name)


def test_memory_beyond_the_limit_is_told_before_the_exit(session: GuestSession) -> None:
    session.channel.events.clear()
    limit = {"memory": {"limit": 16 * MIB, "swap": 16 * MIB}}
    finished = session.run(["sh", "-c", "x=a; while true; do x=$x$x; done"], resources=limit)
    kinds = [type(event) for event in session.channel.events]
    assert (finished.code, kinds) == (137, [messages.OutOfMemory, messages.Exited])


def test_an_out_of_memory_kill_of_a_child_is_told_while_the_container_goes_on(session: GuestSession) -> None:
    session.channel.events.clear()
    limit = {"memory": {"limit": 16 * MIB, "swap": 16 * MIB}}
    script = "sh -c 'x=a; while true; do x=$x$x; done'; echo $?; exec sleep 1000"
    name, out, _ = session.create(["sh", "-c", script], resources=limit)
    session.start(name)
    assert out.read(120) == b"137\n"
    session.channel.run_until(lambda: bool(session.channel.events), 30)
    assert session.channel.events[0].id == name
    assert session.channel.call("list", messages.List(), 60).processes[0].status == "running"
    session.remove(name)


def test_orphans_are_reaped(session: GuestSession) -> None:
    """Without a pid namespace of its own a container's orphans fall to the agent."""
    spaces = [{"type": kind} for kind in ("ipc", "uts", "mount", "cgroup")]
    script = "for i in 1 2 3 4 5 6 7 8; do (sleep 0.1 &); done; sleep 1; exec ps -o stat"
    finished = session.run(["sh", "-c", script], namespaces=spaces)
    assert finished.code == 0
    assert b"Z" not in finished.stdout


def test_a_terminal_has_its_size_and_its_status(session: GuestSession) -> None:
    writer = session.channel.writer()
    name, out, _ = session.create(["sh"], stdin=writer.number, terminal=True)
    session.start(name)
    session.channel.call("resize", messages.Resize(name, "", 50, 132), 60)
    writer.write_all(b"stty size; tty; exit 3\n")
    (output,) = session.collect(out)
    assert b"50 132" in output
    assert b"/dev/pts/0" in output
    assert session.wait(name) == 3
    session.remove(name)


def test_pausing_stops_the_clock_of_a_container(session: GuestSession) -> None:
    name, out, _ = session.create(["sh", "-c", "while true; do echo x; sleep 0.05; done"])
    session.start(name)
    out.read(60)
    session.channel.call("pause", messages.Name(name, ""), 60)
    assert session.channel.call("list", messages.List(), 60).processes[0].status == "paused"
    session.channel.call("resume", messages.Name(name, ""), 60)
    while out.take():
        pass
    assert out.read(60) == b"x\n"
    session.remove(name)


def test_stats_count_what_a_container_does(session: GuestSession) -> None:
    limits = {"memory": {"limit": 64 * MIB}, "pids": {"limit": 50}}
    name, _, _ = session.create(["sh", "-c", "while true; do :; done"], resources=limits)
    session.start(name)
    first = session.channel.call("stats", messages.AskStats((name,)), 60)
    time.sleep(0.5)
    second = session.channel.call("stats", messages.AskStats(()), 60)
    before, after = first.containers[0], second.containers[0]
    assert after.cpu_us > before.cpu_us > 0
    assert (after.memory_limit_bytes, after.pids_limit, after.pids) == (64 * MIB, 50, 1)
    assert 0 < after.working_set_bytes <= after.memory_bytes <= after.memory_peak_bytes
    assert second.guest.memory_total_bytes > second.guest.memory_available_bytes > 0
    assert second.guest.agent_bytes < 20 * MIB
    session.remove(name)


def test_limits_can_be_changed(session: GuestSession) -> None:
    name, _, _ = session.create(["sleep", "1000"], resources={"memory": {"limit": 64 * MIB}})
    session.start(name)
    session.channel.call("update", messages.Update(name, json.dumps({"memory": {"limit": 32 * MIB}})), 60)
    stats = session.channel.call("stats", messages.AskStats((name,)), 60)
    assert stats.containers[0].memory_limit_bytes == 32 * MIB
    session.remove(name)


def test_a_new_supervisor_finds_what_runs_and_goes_on_reading(session: GuestSession) -> None:
    name, out, _ = session.create(["sh", "-c", "i=0; while true; do i=$((i+1)); echo $i; done"])
    session.start(name)
    out.read(60)
    session.channel.close()
    session.channel = Channel(session.machine.connect(), take_over=True)
    hello = session.channel.greet(60)
    assert [(each.id, each.status) for each in hello.processes] == [(name, "running")]
    reader = session.channel.reader()
    stdio = messages.Stdio(0, reader.number, 0, False, 0, 0)
    session.channel.call("attach", messages.Attach(name, "", stdio), 60)
    assert reader.read(60)
    session.remove(name)


def test_a_hostname_and_a_clock_are_what_the_host_says(session: GuestSession) -> None:
    wanted = time.time_ns()
    told = session.channel.call(
        "configure", messages.Configure(os.urandom(64), wanted, "pod-1", "c" * 32), 60
    )
    now = int(session.run(["date", "+%s"]).stdout)
    assert abs(now - wanted / 1e9) < 10
    assert len(told.boot_id) == 36
    assert session.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout.decode().strip() == told.boot_id


def test_an_exec_after_an_idle_time_works(session: GuestSession) -> None:
    """BULKHEAD_TEST_IDLE_SECONDS=3600 is the long form; there is no timer on either end to find."""
    name, _, _ = session.create(["sleep", "100000"])
    session.start(name)
    time.sleep(float(os.environ.get("BULKHEAD_TEST_IDLE_SECONDS", "2")))
    assert session.exec(name, ["echo", "awake"]).stdout == b"awake\n"
    session.remove(name)


def test_a_thousand_small_requests_leave_no_memory_behind(session: GuestSession) -> None:
    for _ in range(200):
        session.channel.call("list", messages.List(), 60)
    before = session.channel.call("stats", messages.AskStats(()), 60).guest.agent_bytes
    for _ in range(1000):
        session.channel.call("list", messages.List(), 60)
    assert session.channel.call("stats", messages.AskStats(()), 60).guest.agent_bytes < before + 4 * MIB


def test_a_pod_shares_its_names(session: GuestSession) -> None:
    """A container whose uts namespace is the pod's has the guest's hostname."""
    spaces = [{"type": "pid"}, {"type": "mount"}, {"type": "uts", "path": "/proc/1234/ns/uts"}]
    name, out, _ = session.name(), session.channel.reader(), None
    text = json.loads(config(["hostname"], namespaces=spaces))
    stdio = messages.Stdio(0, out.number, 0, False, 0, 0)
    session.channel.call("create", messages.Create(name, json.dumps(text), ROOTFS, stdio), 60)
    session.start(name)
    assert out.read_all(60).strip() != b"inside"
    assert session.wait(name) == 0
    session.remove(name)


def test_a_fork_bomb_leaves_the_agent_able_to_act(session: GuestSession) -> None:
    name, _, _ = session.create(["sh", "-c", "bomb() { bomb | bomb & }; bomb; exec sleep 1000"])
    session.start(name)
    time.sleep(3)
    session.channel.ping(120)
    assert session.run(["echo", "still here"]).stdout == b"still here\n"
    session.channel.call("signal", messages.Signal(name, "", 9, True), 120)
    assert session.wait(name) == 137
    session.remove(name)
    assert session.run(["true"]).code == 0


def test_many_containers_that_end_at_once_are_told_one_by_one(session: GuestSession) -> None:
    session.channel.events.clear()
    names = [session.create(["sleep", "1000"])[0] for _ in range(6)]
    for name in names:
        session.start(name)
    for name in names:
        session.channel.request("signal", messages.Signal(name, "", 9, False), lambda _: None)
    session.channel.run_until(lambda: len(session.channel.events) == len(names), 120)
    assert {event.id for event in session.channel.events} == set(names)
    for name in names:
        session.remove(name)
