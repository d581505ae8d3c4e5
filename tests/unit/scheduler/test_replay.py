"""Replaying: policies told of a history, and what a run counts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from scheduler.errors import BadInput
from scheduler.model import CPU, MEMORY, Gpu
from scheduler.placement.arrivals import Arrival
from scheduler.placement.score.registry import Fgd
from scheduler.placement.state import ClusterState
from scheduler.replay.command import ORACLE, parse_seeds, policy_for
from scheduler.replay.run import Replay, RunResult, replay
from scheduler.replay.summary import quantile, summarise
from scheduler.traces.files import read_history
from scheduler.traces.workload import GPU, Cluster, TracePod, arrivals
from tests.support.cluster import make_node, make_shape

PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\na,1000,2048,1,500\nb,1000,2048,1,500\nc,4000,1024,0,0\n"
KINDS = {Arrival(1000, 2048, 1, 500, ()): 2, Arrival(4000, 1024, 0, 0, ()): 1}


def run_of(*pods: TracePod, gpus: int = 2) -> RunResult:
    nodes = [make_node("n", cpu=8000, gpus=gpus)]
    run = Replay(ClusterState(nodes), Fgd(), GPU, itertools.count(0, 10).__next__)
    return replay(run, arrivals(Cluster(tuple(nodes), pods), None, seed=1), seed=1)


def pod(name: str, milli: int) -> TracePod:
    return TracePod(name, make_shape(cpu=1000, gpu=Gpu(1, milli)), 1)


def test_a_history_is_the_kinds_of_a_pod_list(tmp_path: Path) -> None:
    path = tmp_path / "pods.csv"
    path.write_text(PODS)
    assert read_history(path) == KINDS


def test_a_history_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--history takes a pod list"):
        read_history(tmp_path / "nope.csv")


@pytest.mark.parametrize("name", ["fgd", "bulkhead"])
def test_a_policy_begins_with_the_history_it_is_given(name: str) -> None:
    cluster = Cluster((make_node(gpus=1),), ())
    told = policy_for(name, 1, cluster, dict(KINDS))
    told.begin(ClusterState(list(cluster.nodes)))
    untold = policy_for(name, 1, cluster)
    untold.begin(ClusterState(list(cluster.nodes)))
    assert told.__dict__["_arrived"] == KINDS
    assert untold.__dict__["_arrived"] == {}


def test_the_oracle_is_told_the_whole_trace_and_learns_nothing() -> None:
    cluster = Cluster((make_node(gpus=1),), (pod("a", 300), pod("b", 300)))
    oracle = policy_for(ORACLE, 1, cluster)
    oracle.begin(ClusterState(list(cluster.nodes)))
    assert oracle.prices.typical[:, 2].tolist() == [300]


def test_a_run_counts_what_was_placed_and_when_the_first_pod_was_refused() -> None:
    found = run_of(pod("a", 600), pod("b", 600), pod("c", 600), pod("d", 400))
    assert (found.placed, found.failed) == (3, 1)
    assert found.failed_by_reason == {"InsufficientGPUFraction": 1}
    assert found.allocation_pct[GPU] == pytest.approx(80.0)
    assert found.allocation_pct[CPU] == pytest.approx(37.5)
    assert found.first_refusal_load_pct == pytest.approx(90.0)
    assert found.nodes_used == 1
    assert list(found.decision_ns) == [10, 10, 10, 10]


def test_a_run_that_placed_everything_has_no_first_refusal() -> None:
    assert run_of(pod("a", 100)).first_refusal_load_pct is None


def test_a_summary_states_mean_and_population_deviation_over_seeds() -> None:
    results = [run_of(pod("a", 1000)), run_of(pod("a", 1000), pod("b", 1000))]
    summary = summarise("fgd", None, results, has_gpus=True, peak_rss_mib=1.0)
    assert summary.gpu_allocation_pct is not None
    assert (summary.gpu_allocation_pct.mean, summary.gpu_allocation_pct.sd) == (75.0, 25.0)
    assert summary.allocation_pct[MEMORY].per_seed == pytest.approx([3.125, 6.25])
    assert (summary.placed, summary.failed) == (3, 0)


QUANTILES = [
    pytest.param([], 0.5, 0.0, id="nothing"),
    pytest.param([1000], 0.99, 1.0, id="one"),
    pytest.param([1000, 2000, 3000, 4000], 0.5, 3.0, id="middle"),
    pytest.param([1000, 2000], 1.0, 2.0, id="the last"),
]


@pytest.mark.parametrize(("ordered", "share", "want"), QUANTILES)
def test_quantiles_are_by_nearest_rank_in_microseconds(ordered: list[int], share: float, want: float) -> None:
    assert quantile(ordered, share) == want


def test_seeds_are_numbers_ranges_and_lists() -> None:
    assert parse_seeds("42") == [42]
    assert parse_seeds("42-44,7") == [42, 43, 44, 7]
