"""`bulkhead sandbox` on real machines: statuses, streams, signals, terminals, volumes, and nothing left."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import re
import select
import signal
import struct
import subprocess
import tarfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import guest_machine
from tests.support.layers import member
from tests.support.sandboxes import BUSYBOX, SECONDS, World, gone, left_behind, oci_layout, until, world

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("sandbox"),
    pytest.mark.skipif(bool(guest_machine.missing()), reason=guest_machine.missing()),
]
MIB = 1 << 20


@pytest.fixture(scope="module")
def bs() -> Iterator[World]:
    with world() as made:
        yield made


@pytest.fixture(scope="module")
def shell(bs: World) -> Iterator[str]:
    """A sandbox that stays, for execs."""
    name = bs.detached("--name", "shell", "--", "sleep", "100000")
    yield name
    assert bs("rm", "--force", name).status == 0
    assert gone(bs.paths, [name]) == []


def more(bs: World, before: list[str], *ids: str) -> list[str]:
    """What is there five seconds later and was not there before."""
    until(lambda: set(left_behind(bs.paths, ids)) <= set(before), 5)
    return sorted(set(left_behind(bs.paths, ids)) - set(before))


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_the_status_of_the_container_is_ours(bs: World, code: int) -> None:
    ran = bs.run("sh", "-c", f"echo out; echo err >&2; exit {code}")
    assert ran == (code, b"out\n", b"err\n")


def test_the_kernel_inside_is_another(bs: World) -> None:
    assert bs.run("uname", "-r").out.decode().strip() != os.uname().release


def test_a_command_that_is_not_there_is_127_and_one_that_cannot_run_126(bs: World) -> None:
    assert bs.run("nosuch").status == 127
    assert bs.run("/etc/passwd").status == 126


def test_without_usable_kvm_it_says_what_why_and_what_to_do(bs: World) -> None:
    ran = bs("run", "--rm", bs.box, "true")
    if b"no usable KVM" not in ran.err:
        pytest.skip("this host has KVM")
    assert ran.status == 125
    assert b"why:" in ran.err
    assert b"what to do:" in ran.err


def test_options_that_cannot_be_are_125(bs: World) -> None:
    assert bs("run", "--nosuch", bs.box).status == 125
    assert bs("run", "--allow-emulation", bs.root / "nowhere", "true").status == 125
    assert bs("run", "--allow-emulation", "-v", "nonsense", bs.box, "true").status == 125


@pytest.mark.parametrize("code", [0, 1, 2, 42, 127, 255])
def test_the_status_of_an_exec_is_ours(bs: World, shell: str, code: int) -> None:
    assert bs("exec", shell, "sh", "-c", f"exit {code}").status == code


def test_an_exec_that_is_not_there_is_127_at_once(bs: World, shell: str) -> None:
    begin = time.monotonic()
    assert bs("exec", shell, "nosuch").status == 127
    assert time.monotonic() - begin < 60
    assert bs("exec", shell, "true").status == 0


def test_stdin_goes_through_to_its_last_byte(bs: World, shell: str) -> None:
    content = os.urandom(2 * MIB)
    ran = bs("exec", "-i", shell, "sha256sum", stdin=content)
    assert ran.out.split()[0].decode() == hashlib.sha256(content).hexdigest()
    echoed = bs("exec", "-i", shell, "cat", stdin=content)
    assert echoed.out == content


def test_eight_mib_and_an_exit_lose_nothing_and_stand_in_the_log(bs: World) -> None:
    before = left_behind(bs.paths)
    script = "dd if=/dev/zero bs=64k count=128 2>/dev/null | tr '\\0' x; echo; seq 1 1000"
    whole = b"x" * (8 * MIB) + b"\n" + b"".join(b"%d\n" % number for number in range(1, 1001))
    options = [word for word in bs.options(["--name", "burst", "--", "sh", "-c", script]) if word != "--rm"]
    ran = bs("run", *options)
    assert ran.status == 0
    assert ran.out == whole
    assert bs("logs", "burst").out == whole
    assert bs("rm", "burst").status == 0
    assert more(bs, before, "burst") == []


def test_users_of_the_image_are_found_by_name(bs: World, shell: str) -> None:
    assert b"uid=1000(app) gid=1001(app) groups=1002(more)" in bs.run("-u", "app", "--", "id").out
    assert b"uid=5 gid=6" in bs("exec", "-u", "5:6", shell, "id").out


def test_environment_and_directory(bs: World, shell: str) -> None:
    ran = bs.run(
        "-e", "A=1", "-w", "/etc", "--hostname", "inside", "--", "sh", "-c", "echo $A $PWD $(hostname)"
    )
    assert ran.out == b"1 /etc inside\n"
    assert bs("exec", "-e", "B=2", "-w", "/dev", shell, "sh", "-c", "echo $B $PWD").out == b"2 /dev\n"


def test_a_signal_to_the_command_is_one_to_the_container(bs: World) -> None:
    script = "trap 'echo heard; exit 7' TERM; echo ready; while true; do sleep 0.1; done"
    process = bs.popen("run", *bs.options(["sh", "-c", script]))
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (7, b"heard\n")


def test_memory_beyond_the_limit_is_137_and_named(bs: World) -> None:
    ran = bs.run("sh", "-c", "x=a; while true; do x=$x$x; done")
    assert ran.status == 137
    assert b"out-of-memory" in ran.err


def test_a_terminal_has_its_size_and_follows_it(bs: World, shell: str) -> None:
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    _size(theirs, 33, 101)
    script = "stty size; read x; stty size; tty; exit 3"
    process = subprocess.Popen(
        bs.argv("exec", "-it", shell, "sh", "-c", script), stdin=theirs, stdout=theirs, stderr=theirs
    )
    said = _read_until(ours, b"33 101")
    _size(theirs, 44, 55)
    process.send_signal(signal.SIGWINCH)
    time.sleep(1)
    os.write(ours, b"\r")
    said += _read_until(ours, b"/dev/pts")
    assert b"44 55" in said
    assert process.wait(SECONDS) == 3
    os.close(ours)
    os.close(theirs)


def _size(fd: int, rows: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


def _read_until(fd: int, what: bytes) -> bytes:
    said = b""
    deadline = time.monotonic() + SECONDS
    while what not in said and time.monotonic() < deadline:
        if select.select([fd], [], [], 1)[0]:
            said += os.read(fd, 4096)
    assert what in said
    return said


def test_volumes_of_every_kind_but_nfs(bs: World) -> None:
    before = left_behind(bs.paths)
    shared, config = bs.root / "shared", bs.root / "config"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "host").write_text("from the host")
    config.mkdir()
    (config / "key").write_text("value")
    image = bs.root / "block.img"
    image.touch()
    os.truncate(image, 32 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    script = (
        "cat /share/host /conf/key; echo guest > /share/guest; echo kept > /block/kept; echo > /mem/x; echo > /disk/y; "
        "! echo > /conf/no && ! echo > /ro/no && ls /disk"
    )
    volumes = [
        f"{shared}:/share", f"{shared}:/ro:ro", f"block:{image}:/block", "tmpfs:/mem:8M", "disk:32M:/disk",
        f"config:{config}:/conf",
    ]  # fmt: skip
    options = [word for volume in volumes for word in ("-v", volume)]
    ran = bs.run(*options, "--", "sh", "-c", script)
    assert (ran.status, ran.out) == (0, b"from the hostvaluey\n"), ran.err
    assert (shared / "guest").read_text() == "guest\n"
    again = bs.run("-v", f"block:{image}:/block:ro", "--", "cat", "/block/kept")
    assert again.out == b"kept\n"
    assert more(bs, before) == []


def test_an_image_of_layers_says_what_runs_as_whom_and_where(bs: World) -> None:
    directories = [member(name, tarfile.DIRTYPE) for name in ("bin", "etc", "work", "proc", "dev", "sys")]
    shell = member("bin/busybox", content=BUSYBOX.read_bytes(), mode=0o755)
    links = [member(f"bin/{name}", tarfile.SYMTYPE, linkname="busybox") for name in ("sh", "cat", "id", "ls")]
    users = member("etc/passwd", content=b"app:x:77:78::/work:/bin/sh\n")
    below, above = member("work/below", content=b"below\n"), member("work/above", content=b"above\n")
    gone = member("work/.wh.hidden")
    image = oci_layout(
        bs.root / "image",
        [[*directories, shell, *links, users, below, member("work/hidden")], [above, gone]],
        {
            "Entrypoint": ["/bin/sh", "-c"],
            "Cmd": ["id -u; ls; cat below above; echo $SAID"],
            "User": "app",
            "WorkingDir": "/work",
            "Env": ["SAID=yes", "PATH=/bin"],
        },
    )
    ran = bs("run", "--rm", "-q", "--allow-emulation", "-m", "128M", image)
    assert (ran.status, ran.out) == (0, b"77\nabove\nbelow\nbelow\nabove\nyes\n"), ran.err


def test_in_the_background_it_runs_when_the_command_returns_and_may_be_quick(bs: World) -> None:
    name = bs.detached("--", "true")
    assert bs("wait", name).out == b"0\n"
    assert bs("rm", name).status == 0
    assert bs("run", "-d", "-q", "--allow-emulation", bs.box, "nosuch").status == 127


def test_a_copied_volume_follows_its_source(bs: World) -> None:
    config = bs.root / "following"
    config.mkdir()
    (config / "key").write_text("one")
    name = bs.detached("-v", f"config:{config}:/conf", "--", "sleep", "1000")
    (config / "key").write_text("two")
    assert until(lambda: bs("exec", name, "cat", "/conf/key").out == b"two", 60)
    assert bs("rm", "--force", name).status == 0


def test_detached_attached_stopped_removed(bs: World) -> None:
    before = left_behind(bs.paths)
    script = "trap 'echo bye; exit 9' TERM; while read x; do echo got $x; done"
    name = bs.detached("-i", "--name", "later", "--", "sh", "-c", script)
    process = bs.popen("attach", name)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"one\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"got one\n"
    assert re.search(rb"later .*running", bs("ps").out)
    assert b"later" in bs("stats").out
    assert bs("rm", name).status == 1  # it runs
    assert bs("stop", name).status == 0
    process.communicate(timeout=SECONDS)
    assert process.returncode == 9
    assert b"later" not in bs("ps").out
    assert bs("wait", name).out == b"9\n"
    assert bs("logs", name).out == b"got one\nbye\n"
    assert bs("rm", name).status == 0
    assert more(bs, before, name) == []


def test_a_supervisor_maps_no_library_that_it_does_not_use(bs: World, shell: str) -> None:
    mapped = Path(f"/proc/{bs.supervisor(shell)}/maps").read_text()
    assert "libc.so" in mapped
    assert [name for name in ("libcrypto", "libssl", "liblzma", "libbz2") if name in mapped] == []


def test_figures_for_prometheus(bs: World, shell: str, tmp_path: Path) -> None:
    target = tmp_path / "bulkhead.prom"
    assert bs("stats", "--textfile", target).status == 0
    text = target.read_text()
    for name in ("cpu_seconds_total", "container_memory_bytes", "disk_read_bytes_total"):
        assert re.search(
            rf'^bulkhead_sandbox_{name}{{sandbox="shell",accel="(tcg|kvm)"', text, re.MULTILINE
        ), name
    assert re.search(
        r'^bulkhead_sandbox_start_phase_seconds_count{accel="(tcg|kvm)",start="restore"', text, re.MULTILINE
    )
