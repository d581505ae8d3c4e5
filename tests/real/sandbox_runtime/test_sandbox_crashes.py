"""kill -9 of each process of a sandbox: no success is told, all is gone within 5 s, the next start works."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

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


def stopped(process: subprocess.Popen[bytes]) -> int:
    """The pid of the supervisor that stands still at its phase."""
    found: list[int] = []

    def look() -> bool:
        for child in _children(process.pid):
            words = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            if words[0] == "T":
                found.append(child)
        return bool(found)

    assert until(look, 120), process.poll()
    return found[0]


def running(bs: World, name: str, script: str = "echo up; sleep 1000") -> subprocess.Popen[bytes]:
    """`run` in the foreground whose container has said that it is up."""
    process = bs.popen("run", *bs.options(["--name", name, "--", "sh", "-c", script]))
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


def drop_files(found: list[str]) -> list[str]:
    """Without what is kept of a sandbox that has ended: its outcome and its log."""
    return [line for line in found if not line.endswith(("sandboxes/back", "uids"))]


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@pytest.mark.parametrize("phase", PHASES)
def test_a_supervisor_killed_in_a_phase_of_the_start_leaves_nothing(bs: World, phase: str) -> None:
    name = f"start-{phase}"
    process = bs.popen(
        "run", *bs.options(["--name", name, "--", "true"]), environ={"BULKHEAD_DEBUG_STOP_AT": phase}
    )
    os.kill(stopped(process), signal.SIGKILL)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 125, err
    assert gone(bs.paths, [name]) == []


@pytest.mark.parametrize(("victim", "want_status"), [("supervisor", 255), ("vmm", 137)])
def test_a_process_killed_while_its_container_runs(bs: World, victim: str, want_status: int) -> None:
    name = f"mid-{victim}"
    process = running(bs, name)
    os.kill(bs.supervisor(name) if victim == "supervisor" else bs.vmm(name), signal.SIGKILL)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == want_status
    assert f"{victim}-died".encode() in err
    assert gone(bs.paths, [name]) == []


def reaper(name: str) -> int:
    """Who waits for the end of the supervisor of a sandbox."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (place / "cmdline").read_bytes().split(b"\0")
            if b"bulkhead-reaper" in words and name.encode() in words:
                return int(place.name)
    raise AssertionError(f"{name} has no reaper")


def test_a_supervisor_killed_in_the_background_is_cleaned_up_after_at_once(bs: World) -> None:
    name = bs.detached("--name", "alone", "--", "sleep", "1000")
    watcher = reaper(name)
    os.kill(bs.supervisor(name), signal.SIGKILL)
    assert until(lambda: bs.outcome(name).get("code") == 255, 5), bs.outcome(name)
    assert until(lambda: not Path(f"/proc/{watcher}").exists(), 5)
    left = [line for line in gone(bs.paths, [name], seconds=1) if not line.endswith("sandboxes/alone")]
    assert left == []
    assert bs.outcome(name)["reason"] == "supervisor-died"
    assert bs("rm", name).status == 0


def test_a_supervisor_and_its_reaper_killed_are_cleaned_up_after_by_the_next_command(bs: World) -> None:
    name = bs.detached("--name", "back", "--", "sleep", "1000")
    os.kill(reaper(name), signal.SIGKILL)
    os.kill(bs.supervisor(name), signal.SIGKILL)
    assert bs("ps", "-a").status == 0
    assert drop_files(gone(bs.paths, [name], seconds=2)) == []
    assert bs.outcome(name)["code"] == 255
    assert bs("wait", name).out == b"255\n"
    assert bs("rm", name).status == 0
    assert gone(bs.paths, [name]) == []
    assert bs.run("true").status == 0


def test_a_supervisor_that_is_asked_to_end_ends_all_in_order(bs: World) -> None:
    script = "trap 'echo bye; exit 7' TERM; echo up; while true; do sleep 0.1; done"
    process = running(bs, "term", script)
    os.kill(bs.supervisor("term"), signal.SIGTERM)
    out, _ = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (7, b"bye\n")
    assert gone(bs.paths, ["term"]) == []


def test_an_interrupted_start_leaves_nothing(bs: World) -> None:
    process = bs.popen(
        "run", *bs.options(["--name", "int", "--", "true"]), environ={"BULKHEAD_DEBUG_STOP_AT": "channel"}
    )
    supervisor = stopped(process)
    process.send_signal(signal.SIGINT)
    os.kill(supervisor, signal.SIGCONT)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert gone(bs.paths, ["int"]) == []
