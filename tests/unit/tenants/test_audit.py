"""Demanded, declared and actual: which combinations are wrong, and which can't be told."""

from __future__ import annotations

import pytest

from tenants.audit import NodeFact, State, audit
from tenants.model import Runtime, TenantSet, Trust
from tenants.pods import Pod
from tests.support.tenants import CLASSES, make_tenant

R, W, U = State.RIGHT, State.WRONG, State.UNVERIFIED
VM = NodeFact("bulkhead", "6.12.5", "6.18.1")
SHARED = NodeFact("runc", "6.18.1", "6.18.1")
MODEL = TenantSet(
    tenants={
        "untrusted": make_tenant("untrusted", trust=Trust.UNTRUSTED),
        "trusted": make_tenant("trusted"),
        "careful": make_tenant("careful", runtime=Runtime.BULKHEAD),
        "bare": make_tenant("bare", runtime=Runtime.RUNC),
    },
    runtime_classes=CLASSES,
)


@pytest.mark.parametrize(
    ("tenant", "declared", "fact", "want_state", "want_reason"),
    [
        ("untrusted", "bulkhead", VM, R, ""),
        ("untrusted", "", VM, W, "SandboxRequired"),
        ("untrusted", "", SHARED, W, "SharedKernel"),
        ("untrusted", "bulkhead", SHARED, W, "SharedKernel"),
        ("untrusted", "runc", SHARED, W, "SharedKernel"),
        ("untrusted", "kata", VM, W, "UnknownRuntimeClass"),
        ("untrusted", "bulkhead", NodeFact("bulkhead", "6.18.1", "6.18.1"), W, "SameKernel"),
        ("untrusted", "bulkhead", NodeFact("bulkhead"), U, "NoGuestKernel"),
        ("untrusted", "bulkhead", None, U, "NotReported"),
        ("trusted", "", SHARED, R, ""),
        ("trusted", "", VM, W, "HandlerDiffers"),
        ("trusted", "bulkhead", SHARED, W, "HandlerDiffers"),
        ("trusted", "bulkhead", VM, R, ""),
        ("trusted", "", None, U, "NotReported"),
        ("careful", "", SHARED, W, "SharedKernel"),
        ("careful", "bulkhead", VM, R, ""),
        ("bare", "bulkhead", VM, W, "RuncRequired"),
        ("bare", "", SHARED, R, ""),
    ],
)
def test_what_runs_counts_more_than_what_is_declared(
    tenant: str, declared: str, fact: NodeFact | None, want_state: State, want_reason: str
) -> None:
    pod = Pod(uid="u", namespace=tenant, name="p", node="n", runtime_class=declared)
    facts = {} if fact is None else {"u": fact}
    [found] = audit(MODEL, [pod], facts)
    assert (found.state, found.reason) == (want_state, want_reason)


def test_without_node_data_only_sandboxes_are_unverified() -> None:
    pods = [Pod(uid=name, namespace=name, name="p", node="n", runtime_class=runtime)
            for name, runtime in (("untrusted", "bulkhead"), ("trusted", ""))]  # fmt: skip
    assert [(one.tenant, one.state) for one in audit(MODEL, pods)] == [("untrusted", U), ("trusted", R)]


def test_pods_that_run_nowhere_or_belong_to_nobody_are_left_out() -> None:
    pods = [
        Pod(uid="1", namespace="untrusted", name="pending"),
        Pod(uid="2", namespace="untrusted", name="done", node="n", phase="Failed"),
        Pod(uid="3", namespace="kube-system", name="dns", node="n"),
    ]
    assert audit(MODEL, pods, {}) == []


def test_the_worst_comes_first() -> None:
    pods = [Pod(uid=name, namespace=name, name="p", node="n") for name in ("trusted", "untrusted", "careful")]
    found = audit(MODEL, pods, {"trusted": SHARED, "untrusted": SHARED})
    assert [one.state for one in found] == [W, W, R]
