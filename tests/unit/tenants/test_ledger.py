"""The ledger: what is admitted, what is refused and by which numbers, and the ways round a quota that others left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenants.errors import LedgerError
from tenants.files.load import load
from tenants.ledger.answer import Admitted, Reason, Refused
from tenants.ledger.book import Ledger
from tenants.ledger.charge import SANDBOXES, Charge, Phase, cost
from tenants.ledger.forest import quotas_of
from tenants.ledger.standing import standings
from tenants.model import Allowance, Dimension, Pool, TenantSet
from tenants.quantity import CEILING, UNLIMITED
from tests.support.ledger import (
    BORROWER,
    CAPPED,
    CPU,
    LENDER,
    MEMORY,
    admitted,
    fill,
    make_charge,
    make_group,
    make_ledger,
    make_set,
)
from tests.support.tenants import CLASSES, cpu, make_tenant


def refusal(ledger: Ledger, charge: Charge) -> Refused:
    answer = ledger.admit(charge)
    assert isinstance(answer, Refused)
    assert charge.uid not in ledger.entries
    return answer


REFUSALS = [
    ("a stranger", make_charge(tenant="nobody"), Reason.NO_SUCH_TENANT, "NoSuchTenant: tenant nobody"),
    ("a group is no tenant", make_charge(tenant="lab"), Reason.NO_SUCH_TENANT, "NoSuchTenant: tenant lab"),
    ("a resource nobody states", make_charge(memory=1), Reason.DIMENSION_NOT_STATED,
     "DimensionNotStated: default/memory: nobody on the path of the tenant states it (DimensionNotStated)"),
    ("a pool nobody states", make_charge(pool="gpu"), Reason.DIMENSION_NOT_STATED,
     "DimensionNotStated: gpu/cpu: nobody on the path of the tenant states it (DimensionNotStated)"),
    ("more than its own max", make_charge(cpu=9_000), Reason.EXCEEDS_MAX_QUOTA,
     "ExceedsMaxQuota: default/cpu: asked 9, available 8 at a (ExceedsMaxQuota)"),
    ("more than the max of the group", make_charge(tenant="b", cpu=12_500), Reason.EXCEEDS_MAX_QUOTA,
     "ExceedsMaxQuota: default/cpu: asked 12500m, available 12 at lab (ExceedsMaxQuota)"),
    ("its own max, partly used", make_charge(cpu=6_000), Reason.BORROWING_LIMIT_REACHED,
     "BorrowingLimitReached: default/cpu: asked 6, available 5 at a (BorrowingLimitReached)"),
    ("the max of the group, partly used", make_charge(tenant="b", cpu=10_000), Reason.BORROWING_LIMIT_REACHED,
     "BorrowingLimitReached: default/cpu: asked 10, available 9 at lab (BorrowingLimitReached)"),
    ("what others hold", make_charge(tenant="c", cpu=17_500), Reason.WAITING_FOR_QUOTA,
     "WaitingForQuota: default/cpu: asked 17500m, available 17 at pool default (WaitingForQuota)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "charge", "want", "want_text"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_a_refusal_names_the_numbers_that_decided(
    name: str, charge: Charge, want: Reason, want_text: str
) -> None:
    ledger = make_ledger(
        make_group("lab", cpu(10_000, max=12_000)),
        make_tenant("a", parent="lab", quota=cpu(4_000, max=8_000)),
        make_tenant("b", parent="lab"),
        make_tenant("c", quota=cpu(0)),
        offered={"cpu": 20_000},
    )
    assert admitted(ledger, "a", 3_000)
    answer = refusal(ledger, charge)
    assert (answer.reason, str(answer)) == (want, want_text), name


def test_all_dimensions_or_nothing_and_the_gravest_reason_first() -> None:
    quota = {**cpu(4, max=4), MEMORY: Allowance(guaranteed=8, max=8)}
    ledger = make_ledger(make_tenant(quota=quota))
    assert isinstance(ledger.admit(make_charge("first", cpu=3, memory=1)), Admitted)
    answer = refusal(ledger, make_charge("second", cpu=2, memory=9))
    assert [(s.dimension, s.reason) for s in answer.shortages] == [
        (MEMORY, Reason.EXCEEDS_MAX_QUOTA),
        (CPU, Reason.BORROWING_LIMIT_REACHED),
    ]
    assert ledger.usage("a") == {CPU: 3, MEMORY: 1}


def test_the_same_charge_twice_is_one_charge() -> None:
    ledger = make_ledger(CAPPED)
    assert ledger.admit(make_charge(cpu=5)) == ledger.admit(make_charge(cpu=5)) == Admitted("pod")
    assert ledger.usage("a") == {CPU: 5}


RESIZES = [
    ("grows into the free part", 6, True, 6),
    ("may not grow past max", 7, False, 5),
    ("shrinks", 1, True, 1),
]


@pytest.mark.parametrize(("name", "to", "want", "want_used"), RESIZES, ids=[row[0] for row in RESIZES])
def test_another_charge_for_a_known_pod_is_checked_again(
    name: str, to: int, want: bool, want_used: int
) -> None:
    ledger = make_ledger(CAPPED)
    assert admitted(ledger, "a", 5, "pod")
    assert admitted(ledger, "a", to, "pod") is want, name
    assert ledger.usage("a") == {CPU: want_used}


def test_a_pod_may_shrink_even_where_too_much_is_admitted() -> None:
    ledger = make_ledger(CAPPED)
    ledger.record(make_charge(cpu=20))
    assert admitted(ledger, "a", 19, "pod")
    assert not admitted(ledger, "a", 20, "pod")


def test_a_pod_that_moves_to_another_tenant_is_checked_there() -> None:
    ledger = make_ledger(CAPPED, make_tenant("b", quota=cpu(2, max=2)))
    assert admitted(ledger, "a", 3, "pod")
    assert not admitted(ledger, "b", 3, "pod")
    assert (ledger.usage("a"), ledger.usage("b")) == ({CPU: 3}, {CPU: 0})
    assert admitted(ledger, "b", 2, "pod")
    assert (ledger.usage("a"), ledger.usage("b")) == ({CPU: 0}, {CPU: 2})


def test_a_terminating_pod_holds_its_quota_until_it_is_gone() -> None:
    ledger = make_ledger(CAPPED)
    assert admitted(ledger, "a", 6, "old")
    assert ledger.terminate("old")
    assert not admitted(ledger, "a", 1, "new")
    assert admitted(ledger, "a", 5, "old"), "a resize while terminating"
    assert ledger.entries["old"].phase is Phase.TERMINATING
    assert ledger.release("old")
    assert admitted(ledger, "a", 6, "new")


def test_events_may_come_twice_or_for_pods_never_seen() -> None:
    ledger = make_ledger(CAPPED)
    assert not ledger.release("never seen")
    assert not ledger.terminate("never seen")
    assert admitted(ledger, "a", 6, "pod")
    assert (ledger.release("pod"), ledger.release("pod")) == (True, False)
    assert ledger.usage("a") == {CPU: 0}


def test_what_is_lent_can_be_borrowed_and_the_rest_is_kept() -> None:
    ledger = make_ledger(LENDER, BORROWER, offered={"cpu": 12})
    assert not admitted(ledger, "borrower", 7)
    assert admitted(ledger, "borrower", 6)
    assert ledger.available("lender", CPU) == 6
    assert admitted(ledger, "lender", 6)
    assert not admitted(ledger, "lender", 1)


def test_a_guarantee_of_a_group_is_an_extra_for_its_members() -> None:
    group = make_group("lab", cpu(10))
    ledger = make_ledger(
        group, make_tenant("a", parent="lab", quota=cpu(3)), make_tenant("b", parent="lab", quota=cpu(4)),
        offered={"cpu": 10},
    )  # fmt: skip
    assert admitted(ledger, "a", 6)
    assert ledger.usage("lab") == {CPU: 6}
    assert not admitted(ledger, "b", 5)
    assert admitted(ledger, "b", 4)


def test_a_group_that_states_nothing_has_what_its_members_are_guaranteed() -> None:
    ledger = make_ledger(
        make_group("lab"), make_tenant("a", parent="lab", quota=cpu(6)), make_tenant("b", quota=cpu(4)),
        offered={"cpu": 10},
    )  # fmt: skip
    fill(ledger, "b", 9)
    assert {one.name: (one.guaranteed, one.lent) for one in standings(ledger)} == {
        "a": (6, 5), "b": (4, 0),
    }  # fmt: skip
    assert (ledger.usage("lab"), ledger.available("lab", CPU)) == ({CPU: 0}, 0), "it states nothing itself"
    tree = ledger.forest.trees[CPU]
    assert tree.guaranteed[ledger.forest.number_of["lab"]] == 6


def test_use_of_one_runtime_class_is_counted_beside_the_plain_use() -> None:
    classed = Dimension("default", "cpu", "bulkhead")
    ledger = make_ledger(make_tenant(quota={**cpu(10, max=10), classed: Allowance(max=4)}))
    assert isinstance(ledger.admit(make_charge("plain", cpu=5)), Admitted)
    assert isinstance(ledger.admit(make_charge("boxed", cpu=4, runtime_class="bulkhead")), Admitted)
    answer = refusal(ledger, make_charge("more", cpu=1, runtime_class="bulkhead"))
    assert [(str(s.dimension), s.available) for s in answer.shortages] == [("default/bulkhead/cpu", 0)]
    assert ledger.usage("a") == {CPU: 9, classed: 4}


def test_a_pod_costs_its_requests_its_overhead_one_pod_and_its_sandbox() -> None:
    assert cost({"cpu": 500, "memory": 64}) == (("cpu", 500), ("memory", 64), ("pods", 1))
    boxed = cost({"cpu": 500}, CLASSES["bulkhead"])
    assert boxed == (("cpu", 600), ("memory", 128), ("pods", 1), ("sandboxes", 1))
    assert cost({"cpu": CEILING}, CLASSES["bulkhead"])[0] == ("cpu", CEILING)


def test_counts_limit_where_they_are_stated_and_only_there() -> None:
    sandboxes = Dimension("default", SANDBOXES)
    ledger = make_ledger(
        make_tenant("boxed", quota={**cpu(9), sandboxes: Allowance(max=1)}),
        make_tenant("free", quota=cpu(9)),
        offered={"cpu": 18, "sandboxes": 2},
    )
    one, two = (make_charge(uid, "boxed", cpu=1, pods=1, sandboxes=1) for uid in ("one", "two"))
    assert isinstance(ledger.admit(one), Admitted)
    assert (
        refusal(ledger, two).reason is Reason.EXCEEDS_MAX_QUOTA or ledger.available("boxed", sandboxes) == 0
    )
    for number in range(3):
        charge = make_charge(f"free-{number}", "free", cpu=1, pods=1, sandboxes=1)
        assert isinstance(ledger.admit(charge), Admitted)


def test_an_unknown_size_of_the_pool_does_not_bound_but_max_does() -> None:
    sandboxes = Dimension("default", SANDBOXES)
    ledger = make_ledger(make_tenant(quota={sandboxes: Allowance(guaranteed=0, max=8)}))
    assert isinstance(ledger.admit(make_charge("all", sandboxes=8)), Admitted)
    answer = refusal(ledger, make_charge("more", sandboxes=1))
    assert answer.reason is Reason.BORROWING_LIMIT_REACHED


def test_what_the_nodes_are_seen_to_offer_wins_over_the_pool_document() -> None:
    pool = Pool(name="default", allocatable={"cpu": 100})
    tenants = TenantSet(tenants={"a": make_tenant(quota=cpu(0))}, pools={"default": pool})
    assert Ledger.from_tenants(tenants).available("a", CPU) == 100
    assert Ledger.from_tenants(tenants, {("default", "cpu"): 7}).available("a", CPU) == 7


def test_sums_beyond_64_bits_do_not_wrap_into_free_quota() -> None:
    ledger = make_ledger(make_tenant(quota=cpu(CEILING)), make_tenant("b", quota=cpu(CEILING)))
    for number in range(3):
        ledger.record(make_charge(f"big-{number}", cpu=CEILING))
    assert ledger.usage("a") == {CPU: 3 * CEILING}
    assert ledger.available("b", CPU) == CEILING, "nobody says what the pool holds"
    ledger.configure(
        quotas_of(make_set(make_tenant(quota=cpu(CEILING, max=CEILING)), offered={"cpu": CEILING}))
    )
    assert ledger.available("a", CPU) == -CEILING, "clipped, not wrapped"
    for number in range(3):
        ledger.release(f"big-{number}")
    assert ledger.usage("a") == {CPU: 0}
    assert admitted(ledger, "a", CEILING)


def test_unlimited_is_a_word_and_not_a_number() -> None:
    ledger = make_ledger(make_tenant(quota={CPU: Allowance(guaranteed=1, max=UNLIMITED)}))
    assert ledger.available("a", CPU) == CEILING


@pytest.mark.parametrize(
    "amounts",
    [
        (("cpu", -1),),
        (("cpu", 0),),
        (("cpu", CEILING + 1),),
        (("cpu", 1), ("cpu", 1)),
        (("memory", 1), ("cpu", 1)),
    ],
    ids=[
        "negative gives quota back",
        "nothing",
        "no 64-bit integer",
        "one resource in two parts",
        "not canonical",
    ],
)
def test_a_charge_that_could_cheat_cannot_be_made(amounts: tuple[tuple[str, int], ...]) -> None:
    with pytest.raises(LedgerError, match="amounts are positive"):
        Charge(uid="x", tenant="a", amounts=amounts)


def test_a_ledger_that_was_tampered_with_says_where() -> None:
    ledger = make_ledger(CAPPED)
    fill(ledger, "a", 2)
    ledger.forest.trees[CPU].usage[1] = 1
    with pytest.raises(LedgerError, match="a default/cpu: 1 in the tree, 2 by its entries"):
        ledger.verify()


def test_a_name_that_is_nobodys_is_an_error_where_a_number_is_asked() -> None:
    ledger = make_ledger(CAPPED)
    with pytest.raises(LedgerError, match="no tenant or group 'ghost'"):
        ledger.usage("ghost")
    assert ledger.available("a", MEMORY) == 0, "nobody states it"


def test_the_sample_tenants_may_run_what_their_files_promise() -> None:
    tenants = load(Path(__file__).parents[3] / "deploy" / "tenants")
    assert isinstance(tenants, TenantSet)
    ledger = Ledger.from_tenants(tenants)
    box = tenants.runtime_classes["bulkhead"]
    requests = {"cpu": 2_000, "memory": 4_096, "nvidia.com/gpu": 1_000}
    sandboxed = Charge(uid="1", tenant="agents", amounts=cost(requests, box), runtime_class=box.name)
    plain = Charge(uid="2", tenant="platform", amounts=cost(requests))
    assert [ledger.admit(one) for one in (sandboxed, plain)] == [Admitted("1"), Admitted("2")]
    assert ledger.usage("agents")[CPU] == 2_000 + box.overhead_cpu_milli
    assert ledger.usage("agents")[Dimension("default", SANDBOXES)] == 1
