"""Drawn instances: the statistics of the trace they stand in for, the same bytes for the same seed, readable."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.instances.__main__ import main
from benchmarks.instances.mixes import MIXES
from benchmarks.instances.write import NODES_FILE, PODS_FILE, write_instance
from scheduler.capacity import command
from scheduler.traces.assign import parse
from scheduler.traces.files import read_cluster
from scheduler.traces.workload import GPU, Cluster, capacity_of, request_of
from tenants.model import TenantSet

EVERYBODY = "*: all"


def drawn(directory: Path, mix: str, *, nodes: int = 1213, pods: int = 8152, seed: int = 42) -> Cluster:
    paths = write_instance(directory, MIXES[mix], nodes=nodes, pods=pods, seed=seed)
    return read_cluster(*paths, parse(EVERYBODY, "rules", {"all"}), TenantSet())


def demand(cluster: Cluster) -> Counter[str]:
    total: Counter[str] = Counter()
    for pod in cluster.pods:
        total.update(request_of(pod.shape))
    return total


def test_the_default_draw_has_the_capacity_and_the_load_of_openb(tmp_path: Path) -> None:
    cluster = drawn(tmp_path, "openb")
    capacity = capacity_of(cluster.nodes)
    assert (len(cluster.nodes), len(cluster.pods)) == (1213, 8152)
    assert capacity["cpu_milli"] == 107_018_000
    assert capacity[GPU] == 6_212_000
    assert demand(cluster)[GPU] / capacity[GPU] == pytest.approx(0.98, abs=0.03)


def test_the_default_draw_has_the_pod_kinds_of_openb(tmp_path: Path) -> None:
    cluster = drawn(tmp_path, "openb")
    devices = Counter(pod.shape.gpu.count if pod.shape.gpu else 0 for pod in cluster.pods)
    shared = sum(pod.shape.gpu is not None and pod.shape.gpu.milli < 1000 for pod in cluster.pods)
    assert devices[0] / 8152 == pytest.approx(1088 / 8152, abs=0.02)
    assert shared / 8152 == pytest.approx(3078 / 8152, abs=0.02)
    assert set(devices) == {0, 1, 2, 4, 8}


def test_the_quality_of_service_follows_the_kind(tmp_path: Path) -> None:
    write_instance(tmp_path, MIXES["openb"], nodes=10, pods=8152, seed=7)
    rows = [line.split(",") for line in (tmp_path / PODS_FILE).read_text().splitlines()[1:]]
    qos = Counter(row[6] for row in rows)
    assert qos["LS"] / 8152 == pytest.approx(4647 / 8152, abs=0.02)
    assert qos["BE"] / 8152 == pytest.approx(3398 / 8152, abs=0.02)
    assert set(qos) <= {"LS", "BE", "Burstable", "Guaranteed"}


@pytest.mark.parametrize("mix", MIXES)
def test_every_mix_can_be_read_and_none_of_its_pods_is_impossible(tmp_path: Path, mix: str) -> None:
    assert len(drawn(tmp_path, mix, nodes=300, pods=500).pods) == 500


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    written = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_instance(tmp_path / name, MIXES["openb"], nodes=50, pods=200, seed=seed)
        written.append([(tmp_path / name / file).read_bytes() for file in (NODES_FILE, PODS_FILE)])
    assert written[0] == written[1]
    assert written[0] != written[2]


def test_the_files_bear_the_names_that_compare_looks_for() -> None:
    assert (NODES_FILE, PODS_FILE) == (command.NODES_FILE, command.PODS_FILE)


BAD_ARGUMENTS = [
    pytest.param(["--nodes", "0"], "no number from 1", id="no nodes"),
    pytest.param(["--pods", "-3"], "-3", id="negative"),
    pytest.param(["--pods", str(2**63)], "no number from 1", id="two to the 63"),
    pytest.param(["--nodes", "many"], "no number from 1", id="a word"),
    pytest.param(["--mix", "salad"], "invalid choice", id="an unknown mix"),
]


@pytest.mark.parametrize(("arguments", "want_why"), BAD_ARGUMENTS)
def test_bad_arguments_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], want_why: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--out", str(tmp_path / "out"), *arguments])
    assert exit_.value.code == 2
    assert want_why in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_directory_that_cannot_be_made_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--out", str(tmp_path / "file")]) == 2
    assert "name a directory that can be written" in capsys.readouterr().err
