"""Which runtime a pod gets, and who may stand beside whom."""

from __future__ import annotations

import itertools

import pytest

from tenants.isolation import (
    Choice,
    Presence,
    Reason,
    Refusal,
    choose_runtime,
    may_join,
    may_share,
    verify_runtime,
)
from tenants.model import CoResidency, Runtime, Trust
from tests.support.tenants import CLASSES, make_presence, make_tenant

U, T = Trust.UNTRUSTED, Trust.TRUSTED


@pytest.mark.parametrize(
    ("trust", "runtime", "asked", "want"),
    [
        (U, Runtime.AUTO, None, "bulkhead"),
        (U, Runtime.AUTO, "bulkhead", "bulkhead"),
        (U, Runtime.AUTO, "runc", Reason.SANDBOX_REQUIRED),
        (U, Runtime.RUNC, None, "bulkhead"),  # the loader refuses this file; trust still wins
        (U, Runtime.BULKHEAD, "runc", Reason.SANDBOX_REQUIRED),
        (T, Runtime.AUTO, None, None),
        (T, Runtime.AUTO, "bulkhead", "bulkhead"),
        (T, Runtime.AUTO, "runc", "runc"),
        (T, Runtime.RUNC, None, None),
        (T, Runtime.RUNC, "bulkhead", Reason.RUNC_REQUIRED),
        (T, Runtime.BULKHEAD, None, "bulkhead"),
        (T, Runtime.BULKHEAD, "runc", Reason.SANDBOX_REQUIRED),
        (T, Runtime.AUTO, "kata", Reason.UNKNOWN_RUNTIME_CLASS),
        (U, Runtime.AUTO, "kata", Reason.UNKNOWN_RUNTIME_CLASS),
    ],
)
def test_trust_and_file_decide_the_runtime(
    trust: Trust, runtime: Runtime, asked: str | None, want: str | Reason | None
) -> None:
    answer = choose_runtime(make_tenant(trust=trust, runtime=runtime), asked, CLASSES)
    if isinstance(answer, Refusal):
        assert answer.reason is want
    else:
        assert (answer.runtime_class and answer.runtime_class.name) == want
        assert answer.sandboxed is (want == "bulkhead")


def test_without_a_sandbox_class_an_untrusted_pod_has_no_runtime() -> None:
    answer = choose_runtime(make_tenant(trust=U), None, {"runc": CLASSES["runc"]})
    assert isinstance(answer, Refusal)
    assert answer.reason is Reason.NO_SANDBOX_CLASS


def test_a_pod_that_exists_without_a_class_would_run_on_the_shared_kernel() -> None:
    refusal = verify_runtime(make_tenant(trust=U), None, CLASSES)
    assert refusal is not None
    assert refusal.reason is Reason.SANDBOX_REQUIRED
    assert verify_runtime(make_tenant(trust=T), None, CLASSES) is None
    assert verify_runtime(make_tenant(trust=U), "bulkhead", CLASSES) is None


SHY, OWN, ALONE = CoResidency.TRUSTED_ONLY, CoResidency.TENANT_ONLY, CoResidency.EXCLUSIVE
PAIRS = [
    ("trusted beside a sandboxed stranger", make_presence("a"), make_presence("b", trust=U), None),
    ("two sandboxed strangers", make_presence("a", trust=U), make_presence("b", trust=U), None),
    ("an unsandboxed stranger", make_presence("a"), make_presence("b", trust=U, sandboxed=False),
     Reason.UNSANDBOXED_NEIGHBOUR),
    ("never with", make_presence("a", never_with=("b",)), make_presence("b"), Reason.NEVER_WITH),
    ("trusted-only beside trusted", make_presence("a", co_residency=SHY), make_presence("b"), None),
    ("trusted-only beside untrusted", make_presence("a", co_residency=SHY),
     make_presence("b", trust=U), Reason.TRUSTED_ONLY),
    ("tenant-only beside itself", make_presence("a", co_residency=OWN),
     make_presence("a", co_residency=OWN), None),
    ("tenant-only beside another", make_presence("a", co_residency=OWN), make_presence("b"),
     Reason.TENANT_ONLY),
    ("exclusive beside itself", make_presence("a", co_residency=ALONE),
     make_presence("a", co_residency=ALONE), Reason.EXCLUSIVE),
    ("exclusive beside another", make_presence("a", co_residency=ALONE), make_presence("b"),
     Reason.EXCLUSIVE),
]  # fmt: skip


@pytest.mark.parametrize(("name", "one", "other", "want"), PAIRS, ids=[pair[0] for pair in PAIRS])
def test_who_may_share_a_node(name: str, one: Presence, other: Presence, want: Reason | None) -> None:
    refusal = may_share(one, other)
    assert (refusal and refusal.reason) == want, name


def test_sharing_is_symmetric() -> None:
    everybody = [presence for pair in PAIRS for presence in pair[1:3]]
    for one, other in itertools.product(everybody, repeat=2):
        assert may_share(one, other) == may_share(other, one)


def test_the_smallest_blast_radius_on_the_node_decides() -> None:
    residents = [make_presence("a"), make_presence("b", trust=U), make_presence("c", trust=U)]
    newcomer = make_presence("d", trust=U)
    assert may_join(newcomer, residents) is None
    assert may_join(newcomer, residents, node_limit=3) is None
    refusal = may_join(newcomer, residents, node_limit=2)
    assert refusal is not None
    assert refusal.reason is Reason.BLAST_RADIUS
    assert refusal.detail == "3 untrusted tenants (b, c, d) where the node allows 2"
    wary = make_presence("a", blast_radius=1)
    refusal = may_join(make_presence("b", trust=U), [wary, make_presence("c", trust=U)], node_limit=5)
    assert refusal is not None
    assert refusal.detail == "2 untrusted tenants (b, c) where a allows 1"


def test_a_second_pod_of_a_resident_tenant_does_not_widen_the_radius() -> None:
    residents = [make_presence("b", trust=U), make_presence("c", trust=U)]
    assert may_join(make_presence("b", trust=U), residents, node_limit=2) is None


def test_a_choice_without_a_class_is_runc() -> None:
    assert not Choice(None).sandboxed
