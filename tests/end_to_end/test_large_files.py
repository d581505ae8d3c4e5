"""Files of a million lines: a good one is replayed and re-verified, a broken one is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.commands import bulkhead, module

MILLION = 1_000_000
NODES = "sn,cpu_milli,memory_mib,gpu\n" + "".join(
    f"n{number},{1 << 30},{1 << 30},0\n" for number in range(100)
)
HEADER = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n"


def pod_rows(count: int) -> str:
    return "".join(f"p{number},{100 * (number % 7 + 1)},64,0,0\n" for number in range(count))


@pytest.mark.slow
def test_a_million_pods_are_replayed_and_every_decision_is_true(tmp_path: Path) -> None:
    nodes, pods, events = tmp_path / "nodes.csv", tmp_path / "pods.csv", tmp_path / "events.jsonl"
    nodes.write_text(NODES)
    pods.write_text(HEADER + pod_rows(MILLION))
    replayed = bulkhead("replay", "--nodes", nodes, "--pods", pods, "--events", events, "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["placed"] == MILLION
    checked = module("benchmarks.checker", events, "--json")
    assert checked.returncode == 0, checked.stdout
    assert json.loads(checked.stdout)["placed"] == MILLION


def test_a_million_broken_lines_are_not_all_read(tmp_path: Path) -> None:
    nodes, pods, events = tmp_path / "nodes.csv", tmp_path / "pods.csv", tmp_path / "events.jsonl"
    nodes.write_text(NODES)
    pods.write_text(HEADER + "p\n" * MILLION)
    ended = bulkhead("replay", "--nodes", nodes, "--pods", pods, "--events", events)
    assert ended.returncode == 2
    said = ended.stderr.splitlines()
    assert said[0] == f"{pods}:2: the row has 1 fields, the header has 5"
    assert "too many problems, the rest of the file was not read" in said[-1]
    assert len(said) < 100
    assert sorted(tmp_path.iterdir()) == [nodes, pods]
