"""A replay that is stopped: what it prints, and what stands on disk under the name of its event file."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.checker.verify import verify
from benchmarks.instances.mixes import MIXES
from benchmarks.instances.write import write_instance
from tests.support.commands import ROOT, TIMEOUT_S, bulkhead, command

UNDER_WAY_BYTES = 1 << 20
"""So much of an event file is written long after the first decision and long before the last."""


@contextmanager
def replaying(directory: Path, events: Path) -> Iterator[subprocess.Popen[str]]:
    """A replay of a large trace that has written a part of its events; killed and reaped at the end."""
    nodes, pods = write_instance(directory / "trace", MIXES["openb"], nodes=2000, pods=200_000, seed=1)
    argv = command("replay", "--nodes", nodes, "--pods", pods, "--events", events, "--json")
    started = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        wait_until_under_way(events.with_name(events.name + ".partial"), started)
        yield started
    finally:
        started.kill()
        started.communicate()


def wait_until_under_way(partial: Path, started: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not partial.exists() or partial.stat().st_size < UNDER_WAY_BYTES:
        assert started.poll() is None, "the replay ended before it could be stopped"
        assert time.monotonic() < deadline, "the replay never wrote its events"
        time.sleep(0.05)


def test_ctrl_c_prints_what_is_done_and_leaves_only_true_events(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    with replaying(tmp_path, events) as started:
        started.send_signal(signal.SIGINT)
        printed, said = started.communicate(timeout=TIMEOUT_S)
    assert started.returncode == 130, said
    summary = json.loads(printed)
    assert summary["interrupted"]
    assert 0 < summary["placed"] < 200_000
    assert "Traceback" not in said
    assert not events.with_name("events.jsonl.partial").exists()
    report = verify(events)
    assert (report.violations, report.placed + report.refused) == (0, summary["placed"] + summary["failed"])


def test_a_killed_replay_leaves_no_file_under_the_final_name_and_the_next_one_is_whole(
    tmp_path: Path,
) -> None:
    events = tmp_path / "events.jsonl"
    with replaying(tmp_path, events) as started:
        started.send_signal(signal.SIGKILL)
        started.communicate(timeout=TIMEOUT_S)
    assert not events.exists()
    nodes, pods = write_instance(tmp_path / "small", MIXES["openb"], nodes=50, pods=300, seed=1)
    assert bulkhead("replay", "--nodes", nodes, "--pods", pods, "--events", events).returncode == 0
    report = verify(events)
    assert (report.violations, report.placed + report.refused) == (0, 300)
    assert not events.with_name("events.jsonl.partial").exists()
