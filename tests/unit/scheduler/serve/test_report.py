"""The live report: its parts add up, and its page is one file that shows no tenant's text as markup."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.mirror.mirror import Mirror
from scheduler.model import CPU
from scheduler.placement.score.registry import POLICIES
from scheduler.queueing.queue import TenantSummary
from scheduler.serve.report import page, report_of
from tenants.model import Allowance, Dimension, RuntimeClass, Tenant, TenantSet, Trust
from tests.support.objects import node, pod

SANDBOX = RuntimeClass(name="bulkhead", handler="bulkhead", overhead_cpu_milli=100, overhead_memory_mib=128)
QUOTA = {Dimension("default", "cpu"): Allowance(guaranteed=4000), Dimension("default", "memory"): Allowance()}
TENANTS = TenantSet(
    tenants={"agents": Tenant(name="agents", trust=Trust.UNTRUSTED, namespaces=("agents",), quota=QUOTA)},
    runtime_classes={"bulkhead": SANDBOX},
)


def cluster(pods: list[tuple[int, int]]) -> Mirror:
    mirror = Mirror(TENANTS, POLICIES["bulkhead"])
    mirror.replace_nodes([node(f"n{number}") for number in range(4)])
    mirror.requota()
    for number, (on, cpu) in enumerate(pods):
        mirror.pod_changed(pod(f"p{number}", on=f"n{on}", cpu=f"{cpu}m"))
    return mirror


@settings(deadline=None)  # the kernel compiles in the first example
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 900)), max_size=20))
def test_used_overhead_stranded_and_usable_are_the_whole_capacity(pods: list[tuple[int, int]]) -> None:
    report = report_of(cluster(pods), {})
    (cpu,) = [share for share in report.shares if share.resource == CPU]
    assert cpu.used + cpu.overhead + cpu.stranded + cpu.usable == cpu.capacity == 32_000
    assert cpu.used == sum(asked for _, asked in pods)
    assert cpu.overhead == 100 * len(pods)
    assert report.nodes - report.empty_nodes == len({on for on, _ in pods})


def test_the_page_holds_the_figures_and_no_markup_of_others() -> None:
    report = report_of(cluster([(0, 500)]), {"agents": TenantSummary(3, 0.0, {"<script>": 3})})
    text = page(report)
    assert "1 pods on 1 of 4 nodes" in text
    assert "<script>" not in text
    assert "&lt;script&gt; 3" in text
    assert "http" not in text.replace("http-equiv", "")
    assert msgspec.json.decode(msgspec.json.encode(report), type=type(report)) == report
