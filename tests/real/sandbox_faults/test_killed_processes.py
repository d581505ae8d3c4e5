"""SIGKILL for each of our processes in each phase of a sandbox: no false success, nothing left, the next start works.

BULKHEAD_FAULT_CELLS says how many cells of the matrix are tried, spread over all of it; `all` is all of them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pytest

from benchmarks.sandbox.traces import Traces
from sandbox_runtime.lifecycle import journal, recover
from tests.support.stands import CLEAN_SECONDS, SLOW, Stand, end, stopped, until

pytestmark = pytest.mark.real

KEPT = (journal.LOCK, journal.ORDER, journal.JOURNAL, journal.OUTCOME)
SLEEPS = ("sleep", "300")
TRUE_END = 7
ENDS = (
    "sh",
    "-c",
    f"exit {TRUE_END}",
)  # the phases of giving back come after its end: this may be told, or worse
BEFORE_MACHINE = ("group", "storage", "shares", "network", "machine")
WITH_MACHINE = ("channel", "configure", "mount", "create", "created", "started")
ENDING = ("release-channel", "release-machine")
AFTER = ("release-network", "release-shares", "release-storage", "release-group")


class Cell(NamedTuple):
    """Who is killed, and when: at a phase of the supervisor, or while something goes on."""

    victim: str
    phase: str

    def __str__(self) -> str:
        return f"{self.victim}-{self.phase}"


CELLS = [
    *(Cell("supervisor", phase) for phase in (*BEFORE_MACHINE, *WITH_MACHINE, *ENDING, *AFTER)),
    *(Cell("machine", phase) for phase in (*WITH_MACHINE, *ENDING)),
    *(Cell("virtiofsd", phase) for phase in ("network", "machine", *WITH_MACHINE, *ENDING)),
    *(Cell(victim, "running") for victim in ("supervisor", "machine", "virtiofsd")),
    *(Cell(victim, "exec") for victim in ("supervisor", "machine", "virtiofsd")),
    *(Cell(victim, "template") for victim in ("supervisor", "machine")),
]


def chosen() -> Sequence[Cell]:
    wanted = os.environ.get("BULKHEAD_FAULT_CELLS", "6")
    if wanted == "all":
        return CELLS
    step = max(1, len(CELLS) // max(1, int(wanted)))
    return CELLS[::step]


class Figures:
    """What came of all cells, told at the end."""

    def __init__(self) -> None:
        self.killed_at = 0.0
        self.cells, self.passed = 0, 0
        self.seconds: list[tuple[float, str]] = []

    def kill(self, pid: int) -> None:
        """SIGKILL; the clock of the cleaning begins."""
        self.killed_at = time.monotonic()
        end(pid)

    def __str__(self) -> str:
        slowest, which = max(self.seconds, default=(0.0, "none"))
        return f"killed processes: {self.passed} of {self.cells} cells, slowest cleaning {slowest:.2f} s ({which})"


FIGURES = Figures()


@pytest.fixture(scope="module", autouse=True)
def told(request: pytest.FixtureRequest) -> Iterator[None]:
    """The figures, whether or not anything failed."""
    yield
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture is not None else contextlib.nullcontext():
        sys.stdout.write(f"\n{FIGURES}\n")


@pytest.mark.parametrize("cell", chosen(), ids=str)
def test_a_killed_process_is_no_success_and_leaves_nothing(house: Stand, cell: Cell) -> None:
    FIGURES.cells += 1
    before = house.traces()
    name = house.name("k")
    codes = SITUATIONS.get(cell.phase, at_phase)(house, cell, name)
    assert all(code != 0 for code in codes), codes
    left = cleaned(house, before, name)
    seconds = time.monotonic() - FIGURES.killed_at
    FIGURES.seconds.append((seconds, str(cell)))
    assert left == []
    assert seconds < CLEAN_SECONDS
    assert house.outcome(name).get("code") != 0 or not house.outcome(name)
    removed = house.command("rm", "--force", name)
    assert removed.returncode == 0, removed.stderr
    assert house.traces().since(before) == []
    again = house.run("sh", "-c", "exit 42", options=("--rm", *options(house, cell)))
    assert again.returncode == 42, again.stderr
    FIGURES.passed += 1


def cleaned(house: Stand, before: Traces, name: str) -> list[str]:
    """What is left when the time is over, though no command was run; order, outcome and logs stay on purpose."""
    own = (house.paths.sandboxes / name, house.paths.stores / name)
    kept = {f"files: {path}" for path in own}
    kept |= {f"files: {own[0]}/{file}" for file in (*KEPT, "supervisor.log")} | {f"files: {own[1]}/main.log"}

    def left() -> list[str]:
        found = [thing for thing in house.traces().since(before) if thing not in kept]
        if own[0].is_dir() and not recover.over(own[0]):
            found.append("its outcome is not written")
        return found

    deadline = FIGURES.killed_at + CLEAN_SECONDS
    while (found := left()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def options(house: Stand, cell: Cell) -> list[str]:
    if cell.victim != "virtiofsd":
        return []
    shared = house.root / "shared"
    shared.mkdir(exist_ok=True)
    return ["-v", f"{shared}:/shared"]


def pid_of(house: Stand, cell: Cell, name: str) -> int:
    found: Callable[[str], int] = getattr(house, cell.victim)
    return found(name)


def finish(run: subprocess.Popen[str]) -> int:
    out, err = run.communicate(timeout=SLOW)
    assert run.returncode in (0, TRUE_END) or err, f"failed without a word: {out}"
    return run.returncode


# --- the situations -----------------------------------------------------------------------------------------


def at_phase(house: Stand, cell: Cell, name: str) -> list[int]:
    """The supervisor stands still at the phase while the victim dies."""
    argv = ENDS if cell.phase.startswith("release") else SLEEPS
    run = house.begin(name, argv, options(house, cell), stop_at=cell.phase)
    supervisor = until(lambda: house.supervisor(name), SLOW, "a supervisor")
    until(lambda: stopped(supervisor), SLOW, f"the supervisor at {cell.phase}")
    FIGURES.kill(pid_of(house, cell, name) or supervisor)
    if cell.victim != "supervisor":
        os.kill(supervisor, signal.SIGCONT)
    return [finish(run)]


def running(house: Stand, cell: Cell, name: str) -> list[int]:
    run = house.begin(name, SLEEPS, options(house, cell))
    until(
        lambda: house.outcome(name).get("timings", [[""]])[-1][0] == "started" or started(house, name),
        SLOW,
        "it",
    )
    FIGURES.kill(pid_of(house, cell, name))
    return [finish(run)]


def in_exec(house: Stand, cell: Cell, name: str) -> list[int]:
    run = house.begin(name, SLEEPS, options(house, cell))
    until(lambda: started(house, name), SLOW, "a running container")
    words = house.words("exec", name, "sh", "-c", "echo up; sleep 300")
    inside = subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert inside.stdout is not None
    assert inside.stdout.readline() == "up\n"
    FIGURES.kill(pid_of(house, cell, name))
    return [finish(inside), finish(run)]


def template(house: Stand, cell: Cell, name: str) -> list[int]:
    """A size that nobody asked for yet, so that its template has to be made."""
    run = house.begin(name, SLEEPS, ["-m", "190M"])
    maker = until(house.maker, SLOW, "a machine that becomes a template")
    if cell.victim == "supervisor":
        FIGURES.kill(house.supervisor(name))
        return [finish(run)]
    FIGURES.kill(maker)  # the sandbox is then booted, or refused; either way it is no false success
    if (
        until(lambda: run.poll() is not None or started(house, name), SLOW, "an end or a start")
        and run.poll() is None
    ):
        FIGURES.kill(house.machine(name))
    return [finish(run)]


def started(house: Stand, name: str) -> bool:
    return house.command("exec", name, "true").returncode == 0


SITUATIONS: dict[str, Callable[[Stand, Cell, str], list[int]]] = {
    "running": running,
    "exec": in_exec,
    "template": template,
}
