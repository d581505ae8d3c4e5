"""Reclaim: each law on its own, and the ways in which others evicted too much, too little or for ever."""

from __future__ import annotations

import pytest

from tenants.ledger.answer import Admitted, Reason, Refused
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge, Phase
from tenants.ledger.forest import quotas_of
from tenants.ledger.reclaim import Eviction, claim, victims
from tenants.model import Allowance, Quota, Tenant
from tests.support.ledger import CPU, MEMORY, fill, make_charge, make_group, make_ledger, make_set
from tests.support.tenants import cpu, make_tenant


def tenant(name: str, quota: Quota, *, parent: str = "", reclaim: bool = True, fence: bool = False) -> Tenant:
    return Tenant(name=name, quota=quota, parent=parent, reclaim=reclaim, fence=fence)


def full(*, asker: Tenant | None = None, priority: int = 0, count: int = 10) -> Ledger:
    """A pool of 10 that tenant b fills; a is guaranteed 5 and has nothing."""
    ledger = make_ledger(asker or make_tenant("a", quota=cpu(5)), make_tenant("b", quota=cpu(5)),
                         offered={"cpu": 10})  # fmt: skip
    fill(ledger, "b", count, priority=priority)
    return ledger


def evicted(answer: Eviction | Refused) -> list[str]:
    assert isinstance(answer, Eviction), str(answer)
    return [victim.uid for victim in answer.victims]


def why_not(answer: Eviction | Refused) -> Reason:
    assert isinstance(answer, Refused), answer
    return answer.reason


def test_law_1_an_answer_changes_nothing_and_a_second_one_sees_what_left() -> None:
    ledger = full()
    before = ledger.copy()
    ask = make_charge("ask", cpu=2)
    assert evicted(victims(ledger, ask)) == ["b-9", "b-8"]
    assert ledger.entries == before.entries
    ledger.verify()
    ledger.release("b-0")
    assert evicted(victims(ledger, ask)) == ["b-9"]
    ledger.release("b-1")
    assert evicted(victims(ledger, ask)) == []


def test_law_2_a_victim_never_falls_under_its_guarantee() -> None:
    ledger = full()
    assert len(evicted(victims(ledger, make_charge("ask", cpu=5)))) == 5
    coarse = make_ledger(make_tenant("a", quota=cpu(5)), make_tenant("b", quota=cpu(5)), offered={"cpu": 8})
    fill(coarse, "b", 2, each=4)
    assert why_not(victims(coarse, make_charge("ask", cpu=1))) is Reason.NOT_ENOUGH_VICTIMS


def test_law_3_an_application_does_not_evict_itself() -> None:
    ledger = full(count=0)
    for number in range(10):
        ledger.record(make_charge(f"b-{number}", "b", application="app" if number > 2 else "", born=number))
    assert evicted(victims(ledger, make_charge("ask", application="app"))) == ["b-2"]
    assert evicted(victims(ledger, make_charge("ask", application="other"))) == ["b-9"]


def test_law_4_only_who_is_under_its_guarantee_reclaims() -> None:
    ledger = full(count=5)
    fill(ledger, "a", 5)
    assert why_not(victims(ledger, make_charge("ask"))) is Reason.NOT_UNDER_GUARANTEE
    assert why_not(victims(full(), make_charge("ask", cpu=6))) is Reason.NOT_UNDER_GUARANTEE


def test_law_4_no_guarantee_is_not_within_a_guarantee() -> None:
    ledger = full(asker=make_tenant("a", quota=cpu(0)))
    assert why_not(victims(ledger, make_charge("ask"))) is Reason.NOT_UNDER_GUARANTEE


def test_law_5_victims_come_from_those_over_their_guarantee() -> None:
    ledger = make_ledger(
        *(make_tenant(name, quota=cpu(4)) for name in ("a", "over", "under")), offered={"cpu": 12}
    )
    fill(ledger, "under", 4, born=100)
    fill(ledger, "over", 8)
    assert evicted(victims(ledger, make_charge("ask"))) == ["over-7"]


LAW_6 = [
    ("a higher priority stays", 1, 0, None),
    ("an equal one goes", 1, 1, "b-9"),
    ("a lower one goes", 0, 1, "b-9"),
]


@pytest.mark.parametrize(("name", "theirs", "mine", "want"), LAW_6, ids=[row[0] for row in LAW_6])
def test_law_6_priority(name: str, theirs: int, mine: int, want: str | None) -> None:
    answer = victims(full(priority=theirs), make_charge("ask", priority=mine))
    if want is None:
        assert why_not(answer) is Reason.NOT_ENOUGH_VICTIMS, name
    else:
        assert evicted(answer) == [want], name


def fenced(*, inside: bool, outside: bool) -> Ledger:
    ledger = make_ledger(
        make_group("in", cpu(10), fence=inside),
        make_group("out", cpu(10), fence=outside),
        make_tenant("a", parent="in", quota=cpu(5)),
        make_tenant("near", parent="in", quota=cpu(2)),
        make_tenant("far", parent="out", quota=cpu(4)),
        offered={"cpu": 20},
    )
    fill(ledger, "near", 4)
    fill(ledger, "far", 16)
    return ledger


LAW_7 = [
    ("without a fence the largest borrower pays", False, False, ["far-15"]),
    ("a fence keeps preemption inside", True, False, ["near-3"]),
    ("a fence does not protect what it holds", False, True, ["far-15"]),
]


@pytest.mark.parametrize(("name", "inside", "outside", "want"), LAW_7, ids=[row[0] for row in LAW_7])
def test_law_7_fences(name: str, inside: bool, outside: bool, want: list[str]) -> None:
    assert evicted(victims(fenced(inside=inside, outside=outside), make_charge("ask"))) == want, name


def test_a_fenced_tenant_evicts_nobody() -> None:
    ledger = full(asker=tenant("a", cpu(5), fence=True))
    assert why_not(victims(ledger, make_charge("ask"))) is Reason.NOT_ENOUGH_VICTIMS


def test_a_tenant_that_renounced_reclaim_waits() -> None:
    ledger = full(asker=tenant("a", cpu(5), reclaim=False))
    assert why_not(victims(ledger, make_charge("ask"))) is Reason.RECLAIM_DISABLED


def test_what_can_never_be_admitted_evicts_nobody() -> None:
    ledger = full(asker=make_tenant("a", quota=cpu(5, max=5)))
    assert why_not(victims(ledger, make_charge("ask", cpu=6))) is Reason.EXCEEDS_MAX_QUOTA
    assert why_not(victims(ledger, make_charge("ask", memory=6))) is Reason.DIMENSION_NOT_STATED
    assert why_not(victims(ledger, make_charge("ask", "ghost"))) is Reason.NO_SUCH_TENANT


def test_the_tenant_most_over_its_share_pays_first_then_priority_then_the_newest() -> None:
    ledger = make_ledger(*(make_tenant(name, quota=cpu(4)) for name in ("a", "b", "c")), offered={"cpu": 22})
    fill(ledger, "a", 2)
    fill(ledger, "b", 8)
    fill(ledger, "c", 9)
    for uid, priority, born in (("old", -1, 1), ("new", -1, 2), ("worthy", 0, 99)):
        ledger.record(make_charge(uid, "c", priority=priority, born=born))
    assert evicted(victims(ledger, make_charge("ask", cpu=2))) == ["new", "old"]


def test_victims_alternate_as_the_shares_even_out() -> None:
    ledger = make_ledger(*(make_tenant(name, quota=cpu(4)) for name in ("a", "b", "c")), offered={"cpu": 14})
    fill(ledger, "b", 7)
    fill(ledger, "c", 7)
    answer = evicted(victims(ledger, make_charge("ask", cpu=4)))
    assert sorted(uid[0] for uid in answer) == ["b", "b", "c", "c"]


def test_no_surplus_victim_when_a_later_one_is_large_enough_alone() -> None:
    ledger = full(count=0)
    ledger.record(make_charge("large", "b", cpu=8, born=1))
    ledger.record(make_charge("small", "b", cpu=2, born=2))
    ledger.configure(quotas_of(make_set(make_tenant("a", quota=cpu(5)), make_tenant("b", quota=cpu(0)),
                                        offered={"cpu": 10})))  # fmt: skip
    assert evicted(victims(ledger, make_charge("ask", cpu=5))) == ["large"]


def test_when_small_victims_use_up_the_margin_a_large_one_is_tried() -> None:
    ledger = make_ledger(make_tenant("a", quota=cpu(5)), make_tenant("b", quota=cpu(3)), offered={"cpu": 8})
    ledger.record(make_charge("large", "b", cpu=5, born=1))
    ledger.record(make_charge("small", "b", cpu=3, born=2))
    assert evicted(victims(ledger, make_charge("ask", cpu=5))) == ["large"]


def test_room_that_is_being_freed_is_not_freed_twice() -> None:
    ledger = full()
    ask = make_charge("ask", cpu=2)
    answer = victims(ledger, ask)
    assert isinstance(answer, Eviction)
    claim(ledger, ask, answer)
    assert evicted(victims(ledger, ask)) == []
    assert evicted(victims(ledger, make_charge("another", cpu=2))) == ["b-7", "b-6"]
    for victim in answer.victims:
        assert isinstance(ledger.admit(ask), Refused), "not before every victim is gone"
        ledger.release(victim.uid)
    assert ledger.admit(ask) == Admitted("ask")


def test_a_group_under_its_guarantee_reclaims_through_a_member_that_borrows_from_it() -> None:
    ledger = make_ledger(
        make_group("lab", cpu(8)),
        make_tenant("a", parent="lab", quota=cpu(2)),
        make_tenant("b", quota=cpu(2)),
        offered={"cpu": 10},
    )
    fill(ledger, "a", 2)
    fill(ledger, "b", 8)
    assert evicted(victims(ledger, make_charge("ask"))) == ["b-7"]


def test_what_belongs_to_the_group_comes_from_outside_and_not_from_a_sibling() -> None:
    ledger = make_ledger(
        make_group("lab", cpu(8)),
        make_tenant("a", parent="lab", quota=cpu(1)),
        make_tenant("sibling", parent="lab", quota=cpu(0)),
        make_tenant("b", quota=cpu(2)),
        offered={"cpu": 10},
    )
    fill(ledger, "a", 1)
    fill(ledger, "sibling", 5)
    fill(ledger, "b", 4)
    assert evicted(victims(ledger, make_charge("ask"))) == ["b-3"]


def test_a_claim_is_nobodys_victim() -> None:
    ledger = full(count=9)
    ledger.record(make_charge("claim", "b", born=99), Phase.CLAIMED)
    assert evicted(victims(ledger, make_charge("ask"))) == ["b-8"]


def test_members_do_not_take_from_each_other_what_belongs_to_their_group() -> None:
    ledger = make_ledger(
        make_group("lab", cpu(8, max=8)),
        make_tenant("a", parent="lab", quota=cpu(2)),
        make_tenant("b", parent="lab", quota=cpu(2)),
    )
    fill(ledger, "a", 2)
    fill(ledger, "b", 6)
    assert why_not(victims(ledger, make_charge("ask"))) is Reason.NOT_UNDER_GUARANTEE


def test_a_borrower_in_a_group_that_does_not_borrow_is_left_alone() -> None:
    ledger = make_ledger(
        make_group("quiet", cpu(6)),
        make_tenant("borrower", parent="quiet", quota=cpu(1)),
        make_tenant("a", quota=cpu(4)),
        make_tenant("loud", quota=cpu(0)),
        offered={"cpu": 10},
    )
    fill(ledger, "borrower", 6)
    fill(ledger, "loud", 4)
    assert evicted(victims(ledger, make_charge("ask", cpu=4))) == ["loud-3", "loud-2", "loud-1", "loud-0"]


def test_pods_whose_tenant_is_gone_go_first() -> None:
    ledger = full(count=8)
    ledger.record(make_charge("left behind", "gone", cpu=2))
    assert evicted(victims(ledger, make_charge("ask"))) == ["left behind"]


def both(cpu_amount: int, memory_amount: int) -> Quota:
    return {CPU: Allowance(guaranteed=cpu_amount), MEMORY: Allowance(guaranteed=memory_amount)}


def fat_and_thin() -> Ledger:
    """b borrows CPU with pods that hold little memory, less than b is guaranteed."""
    ledger = make_ledger(
        make_tenant("a", quota=both(5, 5)), make_tenant("b", quota=both(5, 5)),
        offered={"cpu": 10, "memory": 10},
    )  # fmt: skip
    for number in range(4):
        ledger.record(make_charge(f"b-{number}", "b", cpu=2, memory=1, born=number))
    ledger.record(make_charge("b-4", "b", cpu=2, born=4))
    return ledger


def test_memory_within_a_guarantee_does_not_shield_cpu_that_is_borrowed() -> None:
    ledger = fat_and_thin()
    assert evicted(victims(ledger, make_charge("ask", cpu=3, memory=1))) == ["b-4", "b-3"]


def test_a_guarantee_in_one_resource_only_is_enough_where_only_that_one_is_short() -> None:
    ledger = make_ledger(
        make_tenant("a", quota=both(5, 0)), make_tenant("b", quota=both(5, 0)),
        offered={"cpu": 10, "memory": 10},
    )  # fmt: skip
    fill(ledger, "b", 10)
    assert evicted(victims(ledger, make_charge("ask", cpu=1, memory=4))) == ["b-9"]
    assert why_not(victims(ledger, make_charge("ask", cpu=1, memory=11))) is Reason.EXCEEDS_MAX_QUOTA


def test_each_resource_comes_from_where_it_is_short() -> None:
    """CPU ends at the max of the group, memory at the pool; the sibling may lose CPU once memory is not short."""
    ledger = make_ledger(
        make_group("lab", {CPU: Allowance(guaranteed=4, max=4), MEMORY: Allowance(guaranteed=6)}),
        make_tenant("a", parent="lab", quota=both(2, 2)),
        make_tenant("sibling", parent="lab", quota=both(0, 4)),
        make_tenant("b", quota=both(0, 0)),
        offered={"cpu": 10, "memory": 14},
    )
    for number in range(4):
        ledger.record(make_charge(f"sibling-{number}", "sibling", cpu=1, memory=1, born=number))
    for number in range(10):
        ledger.record(make_charge(f"b-{number}", "b", memory=1, born=number))
    assert evicted(victims(ledger, make_charge("ask", cpu=1, memory=1))) == ["b-9", "sibling-3"]


def test_a_resize_reclaims_as_well() -> None:
    ledger = full(count=8)
    grown: Charge = make_charge("pod", cpu=4)
    assert isinstance(ledger.admit(make_charge("pod", cpu=2)), Admitted)
    answer = victims(ledger, grown)
    assert evicted(answer) == ["b-7", "b-6"]
    assert isinstance(answer, Eviction)
    claim(ledger, grown, answer)
    assert ledger.usage("a") == {CPU: 2}, "until the room is there it holds what it held"
    for victim in answer.victims:
        ledger.release(victim.uid)
    assert ledger.admit(grown) == Admitted("pod")
