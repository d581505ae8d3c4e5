"""Noisy neighbours: the slowest requests of a sandbox and of a plain container while a third one misbehaves.

A request is a line that a process in the container sends back. Every attack is made twice, from a sandbox and from a
plain container, with the same limits; both victims are measured at the same time. Attacks are bounded: seconds, one
processor, 256 MiB, and for the plain container 256 processes. Packets stay in a network namespace of the benchmark's.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from benchmarks.sandbox import links, runc
from benchmarks.sandbox.runc import Runc
from sandbox_runtime.errors import VmmFailed
from sandbox_runtime.model import MIB
from sandbox_runtime.paths import Paths

LINE = b"x" * 63 + b"\n"
PAUSE_SECONDS = 0.005
SETTLE_SECONDS = 0.5
WARM_SECONDS = 3.0
MEMORY = 256 * MIB
ATTACKS = {
    "CPU burner": "for i in 1 2 3 4; do while :; do :; done & done; wait",
    "fork bomb": "f() { f | f & }; f; sleep 60",
    "memory hog": "while :; do head -c 1000000000 /dev/zero | tail -c 900000000 > /dev/null; done",
    "I/O flood": "while :; do dd if=/dev/zero of=/flood bs=1M count=200 conv=fsync; done 2> /dev/null",
    "packet flood": f"exec /bin/load flood {links.TARGET}",
}
PANIC = "kernel panics"
ATTACKERS = ("sandbox", "runc")
SKIPPED = [f"{PANIC} from runc: n/a, a plain container's kernel is the host's, and the host would be gone"]


class Noise(NamedTuple):
    """One attack from one kind of neighbour: 99th percentiles in milliseconds, and over the same victim's calm.

    The last two, of an attack from a sandbox: over the same victim's percentile while a plain container does the
    same; below 1 the wall helps. None where a plain container cannot.
    """

    attack: str
    attacker: str
    sandbox_p99_ms: float
    runc_p99_ms: float
    sandbox_over_calm: float
    runc_over_calm: float
    requests: int
    sandbox_over_runc_attack: float | None = None
    runc_over_runc_attack: float | None = None


class Neighbours(NamedTuple):
    """Calm percentiles of both victims, every attack, the attacks that were left out."""

    calm_sandbox_p99_ms: float
    calm_runc_p99_ms: float
    noise: list[Noise]
    skipped: list[str]


class Hosted(NamedTuple):
    """Where both kinds of containers run."""

    paths: Paths
    image: Path
    group: str
    plain: Runc
    crashing: Callable[[], AbstractContextManager[None]]

    def words(self, command: str, *words: str) -> list[str]:
        """A command line of ours."""
        roots = ("--run-root", str(self.paths.run), "--cache-root", str(self.paths.cache))
        return [sys.executable, "-m", "sandbox_runtime", command, *roots, *words]

    def sandbox(self, name: str, *argv: str, network: Sequence[str] = ()) -> None:
        """Start one in the background."""
        limits = ("--memory", str(MEMORY), "--cpus", "1", "--allow-emulation", "--quiet", "--detach")
        group = ("--cgroup", f"{self.group}/{name}", "--name", name)
        done = subprocess.run(
            self.words("run", *group, *limits, *network, str(self.image), "--", *argv),
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise VmmFailed("start", done.stderr.decode(errors="replace"))

    def remove(self, name: str) -> None:
        """End it."""
        subprocess.run(self.words("rm", "--force", name), capture_output=True, check=False)


def neighbours(hosted: Hosted, rounds: int, seconds: float) -> Neighbours:
    """Measure; every round goes through calm and all attacks."""
    runc.check()
    calm: list[tuple[float, float]] = []
    found: dict[tuple[str, str], list[tuple[float, float, int]]] = {}
    with ExitStack() as stack:
        stack.callback(hosted.plain.close)
        victims = [stack.enter_context(_sandbox_victim(hosted)), stack.enter_context(_plain_victim(hosted))]
        _both(victims, WARM_SECONDS)  # an emulator has the code of the first requests yet to make
        for number in range(rounds):
            calm.append(_both(victims, seconds)[:2])
            for attack, attacker in _turns(number):
                with _attacking(hosted, attack, attacker, number):
                    found.setdefault((attack, attacker), []).append(_both(victims, seconds))
    quiet = [statistics.median(values) for values in zip(*calm, strict=True)]
    noise = [_noise(attack, attacker, values, quiet) for (attack, attacker), values in found.items()]
    return Neighbours(round(quiet[0], 2), round(quiet[1], 2), _compared(noise), SKIPPED)


def _turns(number: int) -> list[tuple[str, str]]:
    """Every attack by everybody who can make it, in an order that changes from round to round."""
    pairs = [(attack, attacker) for attack in ATTACKS for attacker in ATTACKERS[:: -1 if number % 2 else 1]]
    return [*pairs, (PANIC, "sandbox")]


def _compared(noise: list[Noise]) -> list[Noise]:
    """Those of sandboxes over the same attack from a plain container."""
    plain = {each.attack: each for each in noise if each.attacker == "runc"}
    return [
        each._replace(
            sandbox_over_runc_attack=round(each.sandbox_p99_ms / other.sandbox_p99_ms, 2),
            runc_over_runc_attack=round(each.runc_p99_ms / other.runc_p99_ms, 2),
        )
        if each.attacker == "sandbox" and (other := plain.get(each.attack))
        else each
        for each in noise
    ]


def _noise(attack: str, attacker: str, values: list[tuple[float, float, int]], calm: list[float]) -> Noise:
    mine, plain = (statistics.median(value[kind] for value in values) for kind in (0, 1))
    requests = sum(value[2] for value in values)
    return Noise(
        attack,
        attacker,
        round(mine, 2),
        round(plain, 2),
        round(mine / calm[0], 2),
        round(plain / calm[1], 2),
        requests,
    )


# --- victims ------------------------------------------------------------------------------------------------

Victim = tuple[IO[bytes], IO[bytes]]


@contextmanager
def _sandbox_victim(hosted: Hosted) -> Iterator[Victim]:
    hosted.sandbox("victim", "sleep", "3600")
    try:
        words = hosted.words("exec", "--interactive", "victim", "cat")
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            yield _streams(process)
            process.kill()
    finally:
        hosted.remove("victim")


@contextmanager
def _plain_victim(hosted: Hosted) -> Iterator[Victim]:
    process = hosted.plain.start("victim", ["cat"], MEMORY)
    try:
        yield _streams(process)
    finally:
        hosted.plain.end("victim", process)


def _streams(process: subprocess.Popen[bytes]) -> Victim:
    assert process.stdin is not None  # noqa: S101 - asked for
    assert process.stdout is not None  # noqa: S101 - asked for
    return process.stdin, process.stdout


def _both(victims: list[Victim], seconds: float) -> tuple[float, float, int]:
    """99th percentiles in milliseconds of both, measured side by side; requests of both."""
    answers: list[list[float]] = [[], []]

    def ask(number: int) -> None:
        answers[number] = _requests(*victims[number], seconds)

    threads = [threading.Thread(target=ask, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _p99(answers[0]), _p99(answers[1]), sum(map(len, answers))


def _requests(stdin: IO[bytes], stdout: IO[bytes], seconds: float) -> list[float]:
    times, end = [], time.monotonic() + seconds
    while (begin := time.monotonic()) < end:
        stdin.write(LINE)
        stdin.flush()
        if stdout.readline() != LINE:
            raise VmmFailed("request", "a victim does not answer any more")
        times.append((time.monotonic() - begin) * 1000)
        time.sleep(PAUSE_SECONDS)
    return times


def _p99(times: list[float]) -> float:
    return sorted(times)[min(len(times) - 1, len(times) * 99 // 100)]


# --- attackers ----------------------------------------------------------------------------------------------


@contextmanager
def _attacking(hosted: Hosted, attack: str, attacker: str, number: int) -> Iterator[None]:
    name = f"attack{number}-{'abcdefgh'[[*ATTACKS, PANIC].index(attack)]}{attacker[0]}"
    with ExitStack() as stack:
        if attack == PANIC:
            stack.enter_context(hosted.crashing())
        elif attacker == "sandbox":
            network = links.TAP if attack == "packet flood" else ()
            stack.callback(hosted.remove, name)
            hosted.sandbox(name, "sh", "-c", ATTACKS[attack], network=network)
        else:
            space = stack.enter_context(links.joined()) if attack == "packet flood" else ""
            process = hosted.plain.start(name, ("sh", "-c", ATTACKS[attack]), MEMORY, space)
            stack.callback(hosted.plain.end, name, process)
        time.sleep(SETTLE_SECONDS)
        yield
