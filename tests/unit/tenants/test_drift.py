"""Reservations and their deadlines, clocks that jump, and a ledger that is held against the pods really bound."""

from __future__ import annotations

import math

import pytest

from tenants.errors import LedgerError
from tenants.ledger.answer import Admitted, Refused
from tenants.ledger.book import LONGEST_S, Ledger
from tenants.ledger.charge import Entry, Phase
from tenants.ledger.drift import GRACE_S, Drift, expire, reconcile
from tenants.ledger.reclaim import Eviction, victims
from tests.support.ledger import CPU, fill, make_charge, make_ledger
from tests.support.tenants import cpu, make_tenant

NOW = 1_000_000.0


def ledger_of_ten() -> Ledger:
    return make_ledger(make_tenant("a", quota=cpu(5)), make_tenant("b", quota=cpu(5)), offered={"cpu": 10})


def nobody(_: str) -> bool:
    return False


def phase(ledger: Ledger, uid: str = "pod") -> Phase:
    return ledger.entries[uid].phase


# --- reserve and confirm ----------------------------------------------------------------------------------------


def test_a_reservation_holds_quota_until_its_deadline() -> None:
    ledger = ledger_of_ten()
    assert ledger.reserve(make_charge(cpu=8), NOW, NOW + 30) == Admitted("pod")
    assert isinstance(ledger.admit(make_charge("other", "b", cpu=3)), Refused)
    assert expire(ledger, NOW + 29, nobody) == []
    assert expire(ledger, NOW + 30, nobody) == ["pod"]
    assert ledger.admit(make_charge("other", "b", cpu=3)) == Admitted("other")
    ledger.verify()


@pytest.mark.parametrize("by", ["confirm", "admit", "record"])
def test_what_is_confirmed_never_expires(by: str) -> None:
    ledger = ledger_of_ten()
    ledger.reserve(make_charge(cpu=8), NOW, NOW + 30)
    for _ in range(2):
        if by == "confirm":
            assert ledger.confirm("pod")
        elif by == "admit":
            assert ledger.admit(make_charge(cpu=8)) == Admitted("pod")
        else:
            ledger.record(make_charge(cpu=8))
        assert ledger.entries["pod"] == Entry(make_charge(cpu=8))
    assert expire(ledger, NOW + 99, nobody) == []
    assert ledger.usage("a") == {CPU: 8}
    assert ledger.reserved == set()


def test_a_late_confirmation_is_told_so_and_takes_nothing() -> None:
    ledger = ledger_of_ten()
    ledger.reserve(make_charge(cpu=8), NOW, NOW + 30)
    expire(ledger, NOW + 31, nobody)
    assert not ledger.confirm("pod")
    assert ledger.usage("a") == {CPU: 0}


def test_a_claim_is_not_confirmed_but_reserved_when_there_is_room() -> None:
    ledger = ledger_of_ten()
    fill(ledger, "b", 10)
    ledger.record(make_charge(cpu=1), Phase.CLAIMED)
    assert not ledger.confirm("pod")
    assert isinstance(ledger.reserve(make_charge(cpu=1), NOW, NOW + 30), Refused)
    ledger.release("b-9")
    assert ledger.reserve(make_charge(cpu=1), NOW, NOW + 30) == Admitted("pod")
    assert phase(ledger) is Phase.RESERVED
    assert ledger.claims == set()


def test_a_repeated_reservation_moves_its_deadline() -> None:
    ledger = ledger_of_ten()
    ledger.reserve(make_charge(cpu=8), NOW, NOW + 30)
    ledger.reserve(make_charge(cpu=8), NOW + 20, NOW + 50)
    assert expire(ledger, NOW + 40, nobody) == []
    assert expire(ledger, NOW + 50, nobody) == ["pod"]


@pytest.mark.parametrize("before", [Phase.HELD, Phase.TERMINATING])
def test_a_pod_that_is_there_is_not_made_a_reservation(before: Phase) -> None:
    ledger = ledger_of_ten()
    ledger.record(make_charge(cpu=8), before)
    assert ledger.reserve(make_charge(cpu=8), NOW, NOW + 30) == Admitted("pod")
    assert phase(ledger) is before
    assert expire(ledger, NOW + 99, nobody) == []


def test_a_larger_reservation_is_checked_again() -> None:
    ledger = ledger_of_ten()
    ledger.reserve(make_charge(cpu=4), NOW, NOW + 30)
    assert isinstance(ledger.reserve(make_charge(cpu=11), NOW, NOW + 30), Refused)
    assert ledger.entries["pod"].charge == make_charge(cpu=4)
    assert ledger.reserve(make_charge(cpu=10), NOW, NOW + 30) == Admitted("pod")
    assert ledger.usage("a") == {CPU: 10}


def test_a_reservation_is_nobodys_victim() -> None:
    ledger = ledger_of_ten()
    for number in range(10):
        ledger.reserve(make_charge(f"b-{number}", "b"), NOW, NOW + 30)
    assert isinstance(victims(ledger, make_charge(cpu=1)), Refused)
    ledger.confirm("b-3")
    answer = victims(ledger, make_charge(cpu=1))
    assert isinstance(answer, Eviction)
    assert [victim.uid for victim in answer.victims] == ["b-3"]


@pytest.mark.parametrize(
    ("now", "deadline"), [(math.nan, 1.0), (1.0, math.nan), (math.inf, 1.0), (0.0, math.inf)]
)
def test_what_is_no_time_is_refused(now: float, deadline: float) -> None:
    with pytest.raises(LedgerError, match="are no times"):
        ledger_of_ten().reserve(make_charge(), now, deadline)


# --- clocks -----------------------------------------------------------------------------------------------------


def test_no_reservation_is_for_ever() -> None:
    ledger = ledger_of_ten()
    ledger.reserve(make_charge(), NOW, NOW * 9)
    assert expire(ledger, NOW + LONGEST_S, nobody) == ["pod"]


def test_a_clock_that_was_set_back_starts_the_time_again_once() -> None:
    ledger = ledger_of_ten()
    ledger.reserve(make_charge(), NOW, NOW + 30)
    back = NOW - 1e6
    assert expire(ledger, back, nobody) == []
    assert expire(ledger, back + 29, nobody) == []
    assert expire(ledger, back + 30, nobody) == ["pod"]


def test_a_clock_that_jumps_forward_ends_reservations_and_lets_nobody_in_twice() -> None:
    ledger = ledger_of_ten()
    ledger.reserve(make_charge("early", cpu=10), NOW, NOW + 30)
    assert expire(ledger, NOW + 1e6, nobody) == ["early"]
    assert ledger.reserve(make_charge("next", cpu=10), NOW, NOW + 30) == Admitted("next")
    assert not ledger.confirm("early")
    assert isinstance(ledger.admit(make_charge("early", cpu=10)), Refused)


def test_two_clocks_that_differ_end_a_reservation_all_the_same() -> None:
    ledger = ledger_of_ten()
    ledger.reserve(make_charge(), NOW, NOW + 30)
    for second in range(100):
        if expire(ledger, NOW + second, nobody) or expire(ledger, NOW + second - 7, nobody):
            break
    else:
        pytest.fail("never ended")
    assert second <= 38


# --- expire and reconcile ---------------------------------------------------------------------------------------


def test_a_reservation_whose_pod_is_bound_is_held() -> None:
    ledger = ledger_of_ten()
    ledger.reserve(make_charge(), NOW, NOW + 30)
    assert expire(ledger, NOW + 99, lambda uid: uid == "pod") == []
    assert phase(ledger) is Phase.HELD


def test_bound_pods_are_recorded_whatever_the_quota() -> None:
    ledger = ledger_of_ten()
    bound = {f"p{n}": make_charge(f"p{n}", cpu=4) for n in range(4)}
    assert reconcile(ledger, bound, NOW) == Drift(missing=("p0", "p1", "p2", "p3"))
    assert ledger.usage("a") == {CPU: 16}
    assert not reconcile(ledger, bound, NOW)
    ledger.verify()


def test_what_the_cluster_does_not_show_is_believed_for_a_while() -> None:
    ledger = ledger_of_ten()
    ledger.admit(make_charge())
    assert reconcile(ledger, {}, NOW) == Drift()
    assert reconcile(ledger, {}, NOW + GRACE_S - 1) == Drift()
    assert reconcile(ledger, {}, NOW + GRACE_S) == Drift(stray=("pod",))
    assert ledger.entries == {}


def test_without_grace_it_goes_at_once() -> None:
    ledger = ledger_of_ten()
    ledger.admit(make_charge("held"))
    ledger.record(make_charge("leaving"), Phase.TERMINATING)
    ledger.reserve(make_charge("reserved"), NOW, NOW + 30)
    assert reconcile(ledger, {}, NOW, grace_s=0) == Drift(stray=("held", "leaving"))
    assert set(ledger.entries) == {"reserved"}


@pytest.mark.parametrize("again", ["seen bound", "admitted", "confirmed"])
def test_doubt_is_over_when_the_pod_is_heard_of(again: str) -> None:
    ledger, charge = ledger_of_ten(), make_charge()
    ledger.admit(charge)
    reconcile(ledger, {}, NOW)
    assert ledger.entries["pod"].deadline_s == NOW + GRACE_S
    if again == "seen bound":
        assert not reconcile(ledger, {"pod": charge}, NOW + 1)
    elif again == "admitted":
        ledger.admit(charge)
    else:
        assert ledger.confirm("pod")
    assert ledger.entries["pod"] == Entry(charge)
    assert reconcile(ledger, {}, NOW + GRACE_S) == Drift(), "counted from the first look that misses it"


def test_a_clock_set_back_while_in_doubt_waits_once_more_and_no_longer() -> None:
    ledger = ledger_of_ten()
    ledger.admit(make_charge())
    reconcile(ledger, {}, NOW)
    back = NOW - 1e5
    assert reconcile(ledger, {}, back) == Drift()
    assert reconcile(ledger, {}, back + GRACE_S) == Drift(stray=("pod",))


def test_other_amounts_are_put_right() -> None:
    ledger = ledger_of_ten()
    ledger.admit(make_charge(cpu=2))
    assert reconcile(ledger, {"pod": make_charge(cpu=7)}, NOW) == Drift(different=("pod",))
    assert ledger.usage("a") == {CPU: 7}


def test_reservations_within_their_deadline_stay_and_overdue_ones_go() -> None:
    ledger = ledger_of_ten()
    for uid, seconds in (("soon", 10), ("later", 60), ("bound", 10)):
        ledger.reserve(make_charge(uid), NOW, NOW + seconds)
    assert reconcile(ledger, {"bound": make_charge("bound")}, NOW + 20) == Drift(expired=("soon",))
    assert {uid: entry.phase for uid, entry in ledger.entries.items()} == {
        "later": Phase.RESERVED,
        "bound": Phase.HELD,
    }


def test_claims_stay_unless_their_pod_is_known_to_be_gone() -> None:
    ledger = ledger_of_ten()
    for uid in ("waits", "gone"):
        ledger.record(make_charge(uid), Phase.CLAIMED)
    assert reconcile(ledger, {}, NOW, grace_s=0) == Drift()
    assert reconcile(ledger, {}, NOW, waiting={"waits"}) == Drift(stray=("gone",))
    assert set(ledger.entries) == {"waits"}


def test_a_leaving_pod_that_is_still_bound_goes_on_leaving() -> None:
    ledger = ledger_of_ten()
    ledger.record(make_charge(), Phase.TERMINATING)
    assert not reconcile(ledger, {"pod": make_charge()}, NOW)
    assert phase(ledger) is Phase.TERMINATING


def test_a_charge_under_a_wrong_name_is_an_error() -> None:
    with pytest.raises(LedgerError, match="charge of pod pod is named other"):
        reconcile(ledger_of_ten(), {"other": make_charge()}, NOW)


# --- attempts ---------------------------------------------------------------------------------------------------


def test_an_attempt_tells_what_changed_and_is_undone_by_an_error() -> None:
    ledger = ledger_of_ten()
    ledger.admit(make_charge("stays"))
    before = ledger.copy()
    with pytest.raises(RuntimeError):
        change_everything(ledger)
    assert (ledger.entries, ledger.quotas) == (before.entries, before.quotas)
    ledger.verify()
    with ledger.attempt():
        ledger.release("stays")
    assert ledger.entries == {}


def change_everything(ledger: Ledger) -> None:
    with ledger.attempt() as changes:
        ledger.admit(make_charge("new"))
        ledger.release("stays")
        ledger.admit(make_charge("brief"))
        ledger.release("brief")
        assert changes.entries() == {"new": Entry(make_charge("new")), "stays": None}
        assert changes.quotas() is None
        ledger.configure(make_ledger(make_tenant("a", quota=cpu(1))).quotas)
        assert changes.quotas() == ledger.quotas
        raise RuntimeError


def test_a_clock_that_is_ahead_drops_nothing_that_its_owner_has_not_known_for_a_term() -> None:
    ledger = ledger_of_ten()
    ledger.reserve(make_charge(cpu=1), NOW, NOW + 30)
    assert expire(ledger, NOW + 9_000, nobody, young={"pod"}) == []
    assert not reconcile(ledger, {}, NOW + 9_000, young={"pod"}).expired
    assert expire(ledger, NOW + 9_000, nobody) == ["pod"]


def test_what_the_caller_may_not_have_been_shown_stays_and_its_grace_begins() -> None:
    ledger = ledger_of_ten()
    ledger.admit(make_charge("bound elsewhere"))
    ledger.record(make_charge("claim"), Phase.CLAIMED)
    doubted = {"bound elsewhere", "claim"}
    for later in (0, GRACE_S, 10 * GRACE_S):
        assert not reconcile(ledger, {}, NOW + later, waiting=(), young=doubted)
    assert reconcile(ledger, {}, NOW + GRACE_S, waiting=()) == Drift(stray=("bound elsewhere", "claim"))
