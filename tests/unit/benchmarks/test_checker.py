"""The checker on a file without fault, and on the same file with one fault of every kind."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.checker.__main__ import main
from benchmarks.checker.findings import Kind
from benchmarks.checker.verify import Unreadable, verify
from tests.support.events import RUN, Line, gpu, node, placed, refused, runtime_class, shape, tenant, write

OVERHEAD = {"cpu_milli": 100, "memory_mib": 128}
WALLED: dict[str, Any] = {"sandboxed": True, "overhead": OVERHEAD}
ZONED = [{"topology_key": "zone", "max_skew": 1, "group": "web"}]
MISFIT = shape(cpu=9000)
HALF = shape(gpu=gpu(1, 600))

FACTS = [
    RUN,
    tenant("platform"),
    tenant("agents", "untrusted"),
    tenant("strangers", "untrusted"),
    tenant("ledger", co_residency="tenant-only"),
    tenant("careful", co_residency="trusted-only"),
    tenant("alone", co_residency="exclusive"),
    tenant("foe", never_with=["platform"]),
    tenant("legacy", runtime="runc"),
    tenant("walled", runtime="bulkhead"),
    runtime_class("bulkhead", "bulkhead", **OVERHEAD),
    runtime_class("runc", "runc"),
    node("east", gpus=2, gpu_model="T4", labels={"zone": "a"}, ephemeral_mib=1000, fpga=1),
    node("west", gpus=2, gpu_model="V100", labels={"zone": "b"}, blast_radius=1),
    node("tiny", pods=1),
    node("tainted", taints=[{"key": "gpu", "value": "", "effect": "NoSchedule"}]),
    node("cordoned", unschedulable=True),
    node("bare", sandboxes=False),
]
DECISIONS = [
    placed("web-1", "east", shape(spread=ZONED)),
    placed("half", "east", shape(gpu=gpu(1, 500)), devices=[0]),
    placed("agent", "west", shape(tenant="agents"), **WALLED),
    placed("sole", "tiny"),
    refused(
        "misfit",
        MISFIT,
        ("NodeUnschedulable", 1),
        ("UntoleratedTaint", 1),
        ("InsufficientCPU", 4, 9000, 8000),
    ),
    placed("careful-1", "bare", shape(tenant="careful")),
    refused("nobody", shape(tenant="nobody"), sandboxed=None),
]
GOOD = [*FACTS, *DECISIONS]


def test_a_file_without_fault_has_none(tmp_path: Path) -> None:
    report = verify(write(tmp_path / "events.jsonl", GOOD))
    assert report.shown == []
    assert (report.runs, report.placed, report.refused, report.lines) == (1, 5, 2, len(GOOD))


BAD_PLACEMENTS = [
    (Kind.UNSCHEDULABLE, placed("x", "cordoned")),
    (Kind.TAINT, placed("x", "tainted")),
    (Kind.NODE_AFFINITY, placed("x", "east", shape(node_selector=[["zone", "b"]]))),
    (
        Kind.NODE_AFFINITY,
        placed("x", "east", shape(affinity=[[{"key": "zone", "operator": "NotIn", "values": ["a"]}]])),
    ),
    (Kind.GPU_MODEL, placed("x", "east", shape(gpu=gpu(1, 1000, "V100")), devices=[1])),
    (Kind.NO_SANDBOX, placed("x", "bare", shape(tenant="walled"), **WALLED)),
    (Kind.EXCLUSIVE, placed("x", "east", shape(tenant="alone"))),
    (Kind.TENANT_ONLY, placed("x", "east", shape(tenant="ledger"))),
    (Kind.NEVER_WITH, placed("x", "east", shape(tenant="foe"))),
    (Kind.TRUSTED_ONLY, placed("x", "west", shape(tenant="careful"))),
    (Kind.BLAST_RADIUS, placed("x", "west", shape(tenant="strangers"), **WALLED)),
    (Kind.CPU, placed("x", "east", shape(cpu=6001))),
    (Kind.CPU, placed("x", "west", shape(cpu=6801, tenant="agents"), **WALLED)),
    (Kind.MEMORY, placed("x", "east", shape(memory=40000))),
    (Kind.EPHEMERAL, placed("x", "east", shape(also={"ephemeral_mib": 1001}))),
    (Kind.POD_SLOTS, placed("x", "tiny")),
    (Kind.EXTENDED, placed("x", "east", shape(also={"fpga": 2}))),
    (Kind.EXTENDED, placed("x", "east", shape(also={"unheard-of": 1}))),
    (Kind.WHOLE_GPUS, placed("x", "east", shape(gpu=gpu(1, 1000)), devices=[0])),
    (Kind.GPU_FRACTION, placed("x", "east", HALF, devices=[0])),
    (Kind.SPREAD, placed("x", "east", shape(spread=ZONED))),
    (Kind.SPREAD, placed("x", "bare", shape(spread=ZONED))),
    (Kind.SEQUENCE, placed("x", "east", seq=99)),
    (Kind.UNKNOWN_NODE, placed("x", "nowhere")),
    (Kind.DECIDED_TWICE, placed("web-1", "bare")),
    (Kind.DECIDED_TWICE, placed("misfit", "bare")),
    (Kind.DEVICES, placed("x", "east", HALF, devices=[2])),
    (Kind.DEVICES, placed("x", "east", HALF)),
    (Kind.DEVICES, placed("x", "west", shape(gpu=gpu(2, 1000)), devices=[1, 1])),
    (Kind.RUNTIME, placed("x", "bare", shape(tenant="walled"), sandboxed=False, overhead=OVERHEAD)),
    (Kind.RUNTIME, placed("x", "east", sandboxed=True)),
    (Kind.RUNTIME, placed("x", "east", sandboxed=None)),
    (Kind.OVERHEAD, placed("x", "west", shape(tenant="agents"), sandboxed=True)),
    (Kind.OVERHEAD, placed("x", "east", overhead=OVERHEAD)),
    (Kind.TENANT_RULES, placed("x", "east", shape(tenant="nobody"))),
    (Kind.TENANT_RULES, placed("x", "east", shape(tenant="legacy", runtime_class="bulkhead"))),
    (Kind.TENANT_RULES, placed("x", "west", shape(tenant="agents", runtime_class="runc"))),
]


@pytest.mark.parametrize(
    ("want_kind", "bad"),
    BAD_PLACEMENTS,
    ids=[f"{kind}-{number}" for number, (kind, _) in enumerate(BAD_PLACEMENTS)],
)
def test_a_wrong_placement_is_named(tmp_path: Path, want_kind: Kind, bad: Line) -> None:
    report = verify(write(tmp_path / "events.jsonl", [*GOOD, bad]))
    assert {(one.line, one.kind) for one in report.shown} == {(len(GOOD) + 1, want_kind)}


def test_an_untrusted_pod_without_a_wall_is_wrong_and_a_danger_to_its_neighbours(tmp_path: Path) -> None:
    bad = placed("x", "east", shape(tenant="agents"), overhead=OVERHEAD)
    report = verify(write(tmp_path / "events.jsonl", [*GOOD, bad, placed("y", "east")]))
    assert [one.kind for one in report.shown] == [
        Kind.RUNTIME,
        Kind.UNSANDBOXED_NEIGHBOUR,
        Kind.UNSANDBOXED_NEIGHBOUR,
    ]


RULED_OUT = ("NodeUnschedulable", 1), ("UntoleratedTaint", 1)
AGENT = shape(cpu=9000, tenant="agents")
UNHEARD = shape(also={"unheard-of": 2})
BAD_REFUSALS = [
    pytest.param(Kind.FITS, refused("x", shape(), *RULED_OUT, ("InsufficientCPU", 4, 1000, 0)), id="it fits"),
    pytest.param(
        Kind.TOTAL, refused("x", MISFIT, ("InsufficientCPU", 4, 9000, 7000)), id="two nodes forgotten"
    ),
    pytest.param(
        Kind.BLOCKER,
        refused("x", MISFIT, ("UntoleratedTaint", 2), ("InsufficientCPU", 4, 9000, 7000)),
        id="one reason counted for another",
    ),
    pytest.param(
        Kind.BLOCKER,
        refused("x", MISFIT, *RULED_OUT, ("BadMood", 0), ("InsufficientCPU", 4, 9000, 7000)),
        id="a reason that is none",
    ),
    pytest.param(
        Kind.AMOUNT,
        refused("x", MISFIT, *RULED_OUT, ("InsufficientCPU", 4, 9000, 6999)),
        id="most is too low",
    ),
    pytest.param(
        Kind.AMOUNT,
        refused("x", MISFIT, *RULED_OUT, ("InsufficientCPU", 4, 9001, 7000)),
        id="asked is not so",
    ),
    pytest.param(
        Kind.AMOUNT,
        refused("x", UNHEARD, *RULED_OUT, ("TooManyPods", 1), ("InsufficientExtendedResource", 3, 48, 0)),
        id="an amount that nobody asked",
    ),
    pytest.param(
        Kind.REASON,
        refused("x", MISFIT, *RULED_OUT, ("InsufficientCPU", 4, 9000, 7000), reason="UntoleratedTaint"),
        id="a reason that did not decide",
    ),
    pytest.param(Kind.TOTAL, refused("x", MISFIT, reason="InsufficientCPU"), id="a reason without numbers"),
    pytest.param(Kind.REASON, refused("x", MISFIT), id="tenant rules that allow the pod"),
    pytest.param(
        Kind.REASON,
        refused("x", shape(tenant="nobody", cpu=9000), *RULED_OUT, ("InsufficientCPU", 4, 9000, 7000)),
        id="tenant rules that forbid the pod",
    ),
    pytest.param(
        Kind.RUNTIME,
        refused("x", MISFIT, *RULED_OUT, ("InsufficientCPU", 4, 9000, 7000), sandboxed=None),
        id="no runtime",
    ),
    pytest.param(
        Kind.OVERHEAD,
        refused(
            "x",
            AGENT,
            *RULED_OUT,
            ("NodeCannotSandbox", 1),
            ("InsufficientCPU", 3, 9100, 7000),
            sandboxed=True,
        ),
        id="overhead left out",
    ),
]


@pytest.mark.parametrize(("want_kind", "bad"), BAD_REFUSALS)
def test_an_untrue_refusal_is_named(tmp_path: Path, want_kind: Kind, bad: Line) -> None:
    report = verify(write(tmp_path / "events.jsonl", [*GOOD, bad]))
    assert {(one.line, one.kind) for one in report.shown} == {(len(GOOD) + 1, want_kind)}


def test_a_resource_that_no_node_has_is_refused_with_what_was_asked(tmp_path: Path) -> None:
    true = refused("x", UNHEARD, *RULED_OUT, ("TooManyPods", 1), ("InsufficientExtendedResource", 3, 2, 0))
    assert verify(write(tmp_path / "events.jsonl", [*GOOD, true])).shown == []


def test_every_kind_of_violation_is_planted_somewhere() -> None:
    planted = {kind for kind, _ in BAD_PLACEMENTS} | {case.values[0] for case in BAD_REFUSALS}
    assert planted | {Kind.UNSANDBOXED_NEIGHBOUR} == set(Kind)


def test_what_a_spread_rules_out_comes_last(tmp_path: Path) -> None:
    pods = [placed(f"web-{number}", "east", shape(spread=ZONED)) for number in (2,)]
    nodes = [RUN, node("east", labels={"zone": "a"}), node("west", labels={"zone": "b"}, cpu_milli=500)]
    verdict = refused("web-3", shape(spread=ZONED), ("TopologySpread", 1), ("InsufficientCPU", 1, 1000, 500))
    for line in (*pods, verdict):
        line["shape"]["tenant"], line["sandboxed"] = "", None
    assert verify(write(tmp_path / "events.jsonl", [*nodes, *pods, verdict])).shown == []


def test_a_new_run_starts_on_an_empty_cluster(tmp_path: Path) -> None:
    report = verify(write(tmp_path / "events.jsonl", [*GOOD, *GOOD]))
    assert (report.runs, report.shown) == (2, [])


UNREADABLE = [
    pytest.param(lambda lines: [], 1, "the file is empty", id="empty"),
    pytest.param(lambda lines: lines[1:], 1, "must follow a run line", id="no run line"),
    pytest.param(lambda lines: [{**RUN, "schema": 2}], 1, "schema 2 is unknown", id="a later schema"),
    pytest.param(
        lambda lines: [*lines, node("late")], len(GOOD) + 1, "before any decision", id="a late node"
    ),
    pytest.param(lambda lines: [RUN, node("a"), node("a")], 3, "stated twice", id="a node stated twice"),
    pytest.param(lambda lines: [*lines, {"event": "dance"}], len(GOOD) + 1, "dance", id="an unknown event"),
    pytest.param(lambda lines: [RUN, node("a", cpu_milli=-1)], 2, ">= 0", id="a negative amount"),
    pytest.param(lambda lines: [RUN, node("a", cpu_milli=2**63)], 2, "<= ", id="two to the 63"),
]


@pytest.mark.parametrize(("change", "want_line", "want_why"), UNREADABLE)
def test_a_file_that_is_no_event_file_is_refused_with_its_line(
    tmp_path: Path, change: Callable[[list[Line]], list[Line]], want_line: int, want_why: str
) -> None:
    path = write(tmp_path / "events.jsonl", change(copy.deepcopy(GOOD)))
    with pytest.raises(Unreadable) as refusal:
        verify(path)
    assert str(refusal.value).startswith(f"{path}:{want_line}: ")
    assert want_why in str(refusal.value)


def test_a_file_cut_in_the_middle_of_a_line_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", GOOD)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Unreadable, match=f"events.jsonl:{len(GOOD)}: "):
        verify(path)


def test_the_command_answers_with_its_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write(tmp_path / "good.jsonl", GOOD)
    bad = write(tmp_path / "bad.jsonl", [*GOOD, placed("x", "tiny")])
    assert [main([str(good)]), main([str(bad)]), main([str(tmp_path)])] == [0, 1, 2]
    printed = capsys.readouterr()
    assert f"bad.jsonl:{len(GOOD) + 1}: TooManyPods: pod x on node tiny: pods asked 1, free 0" in printed.out
    assert "Is a directory" in printed.err
