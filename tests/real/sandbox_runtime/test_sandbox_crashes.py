"""kill -9 of each process of a sandbox: no success is told, all is gone within 5 s, the next start works."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.support import guest_machine
from tests.support.sandboxes import SECONDS, World, gone, until, world

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("sandbox"),
    pytest.mark.skipif(bool(guest_machine.missing()), reason=guest_machine.missing()),
]
PHASES = os.environ.get("BULKHEAD_CRASH_PHASES", "storage machine create").split()


@pytest.fixture(scope="module")
def bs() -> Iterator[World]:
    with world() as made:
        yield made


def stopped(process: subprocess.Popen[bytes], bs: World, name: str) -> int:
    """The pid of the supervisor that stands still at its phase."""
    found: list[int] = []

    def look() -> bool:
        for child in _children(process.pid):
            words = open(f"/proc/{child}/stat").read().rpartition(")")[2].split()
            if words[0] == "T":
                found.append(child)
        return bool(found)

    assert until(look, 120), process.poll()
    return found[0]


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in open(f"/proc/{pid}/task/{pid}/children").read().split()]
    except OSError:
        return []


@pytest.mark.parametrize("phase", PHASES)
def test_a_supervisor_killed_in_a_phase_of_the_start_leaves_nothing(bs: World, phase: str) -> None:
    name = f"start-{phase}"
    process = bs.popen(
        "run", *bs.options(["--name", name, "--", "true"]), environ={"BULKHEAD_DEBUG_STOP_AT": phase}
    )
    os.kill(stopped(process, bs, name), signal.SIGKILL)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 125, err
    assert gone(bs.paths, [name]) == []


def test_a_supervisor_killed_while_its_container_runs(bs: World) -> None:
    process = bs.popen("run", *bs.options(["--name", "mid", "--", "sh", "-c", "echo up; sleep 1000"]))
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    os.kill(bs.supervisor("mid"), signal.SIGKILL)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 255
    assert b"supervisor-died" in err
    assert bs("ps", "-a").status == 0  # whoever comes next cleans up
    assert bs.outcome("mid")["code"] == 255
    assert bs("rm", "mid").status == 0
    assert gone(bs.paths, ["mid"]) == []
    assert bs.run("true").status == 0


def test_a_vmm_killed_while_its_container_runs(bs: World) -> None:
    process = bs.popen("run", *bs.options(["--name", "vmm", "--", "sh", "-c", "echo up; sleep 1000"]))
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    os.kill(bs.vmm("vmm"), signal.SIGKILL)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 137
    assert b"vmm-died" in err
    assert gone(bs.paths, ["vmm"]) == []


def test_a_guest_that_panics_is_no_success(bs: World) -> None:
    ran = bs("run", "--rm", "-q", "--allow-emulation", bs.box, "true")
    assert ran.status == 0
    process = bs.popen("run", *bs.options(["--name", "panic", "--", "sh", "-c", "echo up; sleep 1000"]))
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    os.kill(bs.supervisor("panic"), signal.SIGTERM)  # an orderly stop, while a client listens
    process.communicate(timeout=SECONDS)
    assert process.returncode != 0
    assert gone(bs.paths, ["panic"]) == []


def test_an_interrupted_start_leaves_nothing(bs: World) -> None:
    process = bs.popen(
        "run", *bs.options(["--name", "int", "--", "true"]), environ={"BULKHEAD_DEBUG_STOP_AT": "channel"}
    )
    supervisor = stopped(process, bs, "int")
    process.send_signal(signal.SIGINT)
    os.kill(supervisor, signal.SIGCONT)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert gone(bs.paths, ["int"]) == []
