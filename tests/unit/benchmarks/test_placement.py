"""What the placement benchmark makes of its runs: tiles, loads, medians, bars. No test asserts on time."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.instances.mixes import MIXES
from benchmarks.instances.write import write_instance
from benchmarks.placement import quality, scale
from benchmarks.placement.__main__ import main
from benchmarks.placement.bars import bars, scale_bars, trace_bars
from benchmarks.placement.published import ALLOCATION_PCT, BULKHEAD_AT_LEAST_PCT
from benchmarks.placement.results import PolicyQuality, ScaleRun, TraceQuality, medians, spread
from benchmarks.placement.scale import Case, growth
from benchmarks.placement.tile import STRANGERS, Rules, crowd, tiled_nodes, tiled_pods
from benchmarks.placement.traces import Trace, openb_traces
from scheduler.traces.assign import Assignment
from scheduler.traces.files import read_cluster
from scheduler.traces.inputs import read_inputs
from tenants.model import TenantSet
from tests.support.commands import ROOT

SAMPLE = ROOT / "deploy" / "tenants"


def drawn(directory: Path, *, nodes: int = 30, pods: int = 200, mix: str = "openb") -> tuple[Path, Path]:
    return write_instance(directory, MIXES[mix], nodes=nodes, pods=pods, seed=5)


def a_trace(directory: Path, *, nodes: int = 30, pods: int = 200) -> Trace:
    cluster = read_cluster(*drawn(directory, nodes=nodes, pods=pods), Assignment(), TenantSet())
    return Trace("drawn", synthetic=True, cluster=cluster)


def policy(name: str, *allocations: float, first: float = 90.0, violations: int = 0) -> PolicyQuality:
    return PolicyQuality(
        policy=name,
        allocation_pct=spread(allocations),
        allocation_of_all_pct={},
        first_refusal_pct=spread([first] * len(allocations)),
        first_refusal_worst_pct=first,
        decisions_per_second=1.0,
        placed=1,
        refused=1,
        violations=violations,
    )


def a_quality(name: str, *policies: PolicyQuality, synthetic: bool = False) -> TraceQuality:
    published = ALLOCATION_PCT.get(name)
    return TraceQuality(
        trace=name,
        synthetic=synthetic,
        resource="gpu_milli",
        load=1.3,
        seeds=[42],
        published_fgd_pct=published.fgd if published else None,
        published_best_fit_pct=published.best_fit if published else None,
        policies=list(policies),
        over_oracle=quality.over_oracle(policies),
    )


def a_run(nodes: int, took_us: float, *, peak_mib: float = 100.0, tenancy: str = "none") -> ScaleRun:
    times = (took_us,) * 4
    return ScaleRun(nodes, 8 * nodes, tenancy, "bulkhead", 1, 0, 1e6 / took_us, *times, 0.0, peak_mib)


def test_tiles_are_as_many_as_asked_and_bear_names_of_their_own(tmp_path: Path) -> None:
    cluster = a_trace(tmp_path).cluster
    nodes, pods = tiled_nodes(cluster, 100), tiled_pods(cluster, 1000, 1, {})
    assert len({node.name for node in nodes}) == 100
    assert len({pod.uid for pod in pods}) == 1000
    want_shapes = Counter(
        {shape: 5 * count for shape, count in Counter(pod.shape for pod in cluster.pods).items()}
    )
    assert Counter(pod.shape for pod in pods) == want_shapes


def test_a_crowd_takes_the_place_of_every_untrusted_tenant_and_keeps_its_enemies(tmp_path: Path) -> None:
    inputs = read_inputs(*drawn(tmp_path), SAMPLE, str(SAMPLE / "assign.rules"))
    declared, owners = crowd(inputs.tenants)
    pods = tiled_pods(inputs.cluster, 2000, 1, owners)
    assert len(owners["agents"]) == STRANGERS
    assert {pod.shape.tenant for pod in pods} <= set(declared.tenants)
    assert "agents" not in declared.tenants
    assert declared.tenants["agents-7"].isolation.never_with == {"ledger-db"}
    assert declared.tenants["agents-7"].isolation.blast_radius == 4


def test_traces_are_found_beside_their_nodes_default_first(tmp_path: Path) -> None:
    drawn(tmp_path / "deep" / "er")
    listed = tmp_path / "deep" / "er" / "openb_pod_list_default.csv"
    listed.with_name("openb_pod_list_cpu250.csv").write_bytes(listed.read_bytes())
    (tmp_path / "openb_pod_list_orphan.csv").write_bytes(listed.read_bytes())
    assert [trace.name for trace in openb_traces(tmp_path)] == ["default", "cpu250"]


def test_a_measured_trace_is_checked_and_compared_seed_by_seed(tmp_path: Path) -> None:
    done: list[str] = []
    measured = quality.measure(a_trace(tmp_path), ["best-fit", "fgd-oracle"], [1, 2], done.append)
    assert [one.policy for one in measured.policies] == ["best-fit", "fgd-oracle"]
    assert all(one.violations == 0 and one.placed > 0 and one.refused > 0 for one in measured.policies)
    [over] = measured.over_oracle
    theirs, ours = (one.allocation_pct.per_seed for one in measured.policies)
    assert over.allocation == [round(a - b, 3) for a, b in zip(theirs, ours, strict=True)]
    assert done == [f"drawn, {name}, seed {seed}" for seed in (1, 2) for name in ("best-fit", "fgd-oracle")]


BARS = [
    pytest.param(a_quality("default", policy("bulkhead", 96.0, 96.2)), [True], id="bulkhead at its bar"),
    pytest.param(a_quality("default", policy("bulkhead", 96.0, 96.1)), [False], id="bulkhead below its bar"),
    pytest.param(a_quality("cpu250", policy("fgd-oracle", 93.12)), [True], id="fgd near the published"),
    pytest.param(a_quality("cpu250", policy("fgd-oracle", 93.8)), [False], id="fgd far above the published"),
    pytest.param(
        a_quality("x", policy("bulkhead", 50.0), policy("fgd", 50.0), synthetic=True), [True], id="a draw"
    ),
    pytest.param(
        a_quality("x", policy("bulkhead", 50.0), policy("fgd", 50.1), synthetic=True), [False], id="behind"
    ),
    pytest.param(a_quality("cpu037", policy("bulkhead", 1.0)), [], id="a trace without a bar"),
]


@pytest.mark.parametrize(("measured", "want_met"), BARS)
def test_a_trace_is_held_to_its_bars(measured: TraceQuality, want_met: list[bool]) -> None:
    assert [bar.met for bar in trace_bars(measured)] == want_met


def test_one_violation_anywhere_misses_a_bar() -> None:
    true, false = policy("fgd", 1.0), policy("bulkhead", 1.0, violations=1)
    assert [bar.met for bar in bars([a_quality("x", true)], [])] == [True]
    assert [bar.met for bar in bars([a_quality("x", true), a_quality("y", false)], [])] == [False]


def test_repeats_become_medians_but_memory_is_the_largest() -> None:
    found = medians([a_run(10, 3.0, peak_mib=5), a_run(10, 1.0, peak_mib=9), a_run(10, 2.0, peak_mib=7)])
    assert (found.mean_us, found.peak_mib, found.repeats) == (2.0, 9, 3)


def test_growth_and_memory_are_held_to_their_bars() -> None:
    small, large = medians([a_run(5_000, 10.0)]), medians([a_run(100_000, 39.0, peak_mib=2047.0)])
    assert growth([small, large], Rules.NONE) == pytest.approx(3.9)
    assert growth([small], Rules.NONE) is None
    assert [bar.met for bar in scale_bars([small, large])] == [True, True]
    slow = medians([a_run(100_000, 40.0, peak_mib=2048.0)])
    assert [bar.met for bar in scale_bars([small, slow])] == [False, False]


def test_every_bar_of_ours_is_above_what_was_published_for_fgd() -> None:
    assert all(least > ALLOCATION_PCT[name].fgd for name, least in BULKHEAD_AT_LEAST_PCT.items())


def test_a_run_apart_tells_its_own_figures(tmp_path: Path) -> None:
    run = scale.run_apart(Case(40, Rules.CROWD, 1), drawn(tmp_path), SAMPLE)
    assert (run.nodes, run.pods, run.tenancy, run.placed + run.refused) == (40, 320, "crowd", 320)
    assert run.peak_mib > 50


def test_a_run_apart_that_fails_says_so(tmp_path: Path) -> None:
    nodes, _ = drawn(tmp_path)
    with pytest.raises(scale.ScaleFailed, match="40 nodes, rules none: exit"):
        scale.run_apart(Case(40, Rules.NONE, 1), (nodes, tmp_path / "absent.csv"), SAMPLE)


BAD_ARGUMENTS = [
    pytest.param(["--policies", "prayer"], "unknown: prayer", id="unknown policy"),
    pytest.param(["--parts", "all"], "unknown: all", id="unknown part"),
    pytest.param(["--seeds", "x"], "no list of seeds", id="no seeds"),
]


@pytest.mark.parametrize(("arguments", "want_why"), BAD_ARGUMENTS)
def test_bad_arguments_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], want_why: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert want_why in capsys.readouterr().err


def test_the_command_prints_json_and_says_when_a_bar_is_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn(tmp_path, nodes=20, pods=150)
    status = main(
        ["--data", str(tmp_path), "--parts", "openb", "--policies", "bulkhead,fgd", "--seeds", "7", "--json"]
    )
    result = json.loads(capsys.readouterr().out)
    assert [one["policy"] for one in result["quality"][0]["policies"]] == ["bulkhead", "fgd"]
    assert status == (0 if all(bar["met"] for bar in result["bars"]) else 1)
    assert main(["--data", str(tmp_path), "--parts", "openb", "--policies", "fgd", "--seeds", "7"]) == 0
    assert "violations found by the checker" in capsys.readouterr().out
