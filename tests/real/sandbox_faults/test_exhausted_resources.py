"""Memory, disks and patience that run out, in the guest and on the host: said clearly, and never a success."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stands import SLOW, Stand, stopped, until

pytestmark = pytest.mark.real

HOG = (
    "tail",
    "-c",
    "75000000",
    "/dev/zero",
)  # keeps so much; more than the guest has at all would only be refused


def test_a_container_beyond_its_memory_ends_with_137_and_the_reason(house: Stand) -> None:
    done = house.run(*HOG, options=("--rm", "-m", "64M"))
    assert done.returncode == 137, done
    assert "out-of-memory" in done.stderr


def test_a_machine_that_the_host_kills_for_memory_is_told_apart(house: Stand) -> None:
    """The group gets less than the machine has in use; the kernel of the host then kills QEMU."""
    name = house.name("e")
    run = house.begin(name, ["sleep", "300"])
    until(lambda: house.command("exec", name, "true").returncode == 0, SLOW, "a running container")
    squeeze(Path("/sys/fs/cgroup/memory", house.group, name))
    house.command("exec", name, "sh", "-c", "head -c 60000000 /dev/zero > /dev/shm/x")
    out, err = run.communicate(timeout=SLOW)
    assert run.returncode not in (0, None), (out, err)
    assert "out-of-memory" in err or "supervisor" in err, err
    house.command("ps")
    assert house.command("rm", "--force", name).returncode == 0
    assert house.run("true").returncode == 0


def squeeze(group: Path) -> None:
    """Lower the limit to a little above what is in use now."""
    if not group.is_dir():
        pytest.skip("no memory controller of control groups v1")
    for _ in range(50):
        used = int((group / "memory.usage_in_bytes").read_text())
        try:
            (group / "memory.limit_in_bytes").write_text(str(used + (4 << 20)))
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the limit cannot be lowered")


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_of_the_host_is_said_at_the_start(house: Stand) -> None:
    """Private disks lie on a file system that has no room at all."""
    before = house.traces()
    with small_disk(house.paths.stores, "16k") as place:
        (place / "filler").write_bytes(bytes(12 << 10))
        done = house.run("true")
    assert done.returncode == 125, done
    assert "no room on the filesystem" in done.stderr, done.stderr
    assert house.traces().since(before) == []
    assert house.run("true").returncode == 0


def test_a_disk_of_the_host_that_fills_up_later_gives_errors_in_the_container_only(house: Stand) -> None:
    with small_disk(house.paths.stores, "24M"):
        script = "dd if=/dev/zero of=/big bs=1M count=64 conv=fsync && echo wrote; exit 5"
        done = house.run("sh", "-c", script)
    assert "wrote" not in done.stdout, done
    assert done.returncode != 0
    assert house.run("true").returncode == 0


def test_an_agent_that_stops_answering_is_given_up_in_the_time_of_a_stop(house: Stand) -> None:
    """QEMU stands still, so nothing in the guest answers any more: `stop` still ends it, and says how."""
    name = house.name("e")
    run = house.begin(name, ["sleep", "300"])
    until(lambda: house.command("exec", name, "true").returncode == 0, SLOW, "a running container")
    os.kill(house.machine(name), signal.SIGSTOP)
    begin = time.monotonic()
    house.command("stop", name)
    out, err = run.communicate(timeout=SLOW)
    assert run.returncode not in (0, None), (out, err)
    assert time.monotonic() - begin < 60
    assert house.command("rm", "--force", name).returncode == 0


def test_an_agent_that_stops_answering_is_noticed_though_nobody_asks_for_anything(house: Stand) -> None:
    """QEMU stands still while its container runs; a sandbox beside it goes on."""
    beside = house.detached("sleep", "300")
    name = house.name("e")
    run = house.begin(name, ["sleep", "300"], ["--ping-every", "1", "--ping-timeout", "5"])
    until(lambda: house.command("exec", name, "true").returncode == 0, SLOW, "a running container")
    os.kill(house.machine(name), signal.SIGSTOP)
    begin = time.monotonic()
    _, err = run.communicate(timeout=SLOW)
    assert run.returncode == 255, err
    assert "has not answered for 5 s" in err
    assert time.monotonic() - begin < 30
    assert house.outcome(name)["reason"] == "agent-lost"
    assert house.command("exec", beside, "true").returncode == 0
    assert house.command("rm", "--force", name, beside).returncode == 0


@pytest.mark.parametrize("restored", [True, False])
def test_a_guest_that_comes_up_without_a_word_is_booted_once_more_and_that_is_said(
    house: Stand, restored: bool
) -> None:
    """QEMU stands still before its agent could answer; the machine that replaces it runs the container.

    A template that it was restored from is not used again.
    """
    name = house.name("e")
    options = [] if restored else ["-v", f"{shared(house)}:/shared"]
    run = house.begin(name, ["sh", "-c", "sleep 2; exit 42"], options, stop_at="channel")
    supervisor = until(lambda: house.supervisor(name), SLOW, "a supervisor")
    until(lambda: stopped(supervisor), SLOW, "the supervisor before the channel")
    templates = {path.parent.name for path in house.paths.templates.glob("*/facts")}
    os.kill(house.machine(name), signal.SIGSTOP)
    os.kill(supervisor, signal.SIGCONT)
    _, err = run.communicate(timeout=SLOW + 120)
    assert run.returncode == 42, err
    assert house.outcome(name)["silent_starts"] == 1
    gone = templates - {path.parent.name for path in house.paths.templates.glob("*/facts")}
    assert len(gone) == restored
    said = (house.paths.sandbox(name) / "supervisor.log").read_text()
    assert "no answer within" in said
    assert "booted once more" in said
    assert house.command("rm", "--force", name).returncode == 0


def shared(house: Stand) -> Path:
    place = house.root / "shared"
    place.mkdir(exist_ok=True)
    return place
