"""What every store must do, whatever it is made of: one suite, held against each of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from scheduler.store.protocol import Store
from tenants.ledger.answer import Admitted, Reason, Refused
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge, Entry, Phase
from tenants.ledger.drift import GRACE_S, Drift
from tenants.ledger.forest import Quotas, quotas_of
from tenants.ledger.reclaim import Eviction
from tests.support.ledger import CPU, make_charge, make_set
from tests.support.stores import ADDRESSES, KINDS, Open, opener
from tests.support.tenants import cpu, make_tenant

NOW = 1_000_000.0
TWO = quotas_of(make_set(make_tenant("a", quota=cpu(5)), make_tenant("b", quota=cpu(5)), offered={"cpu": 10}))


@pytest.fixture(params=KINDS)
def another(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    with ADDRESSES[request.param](tmp_path) as address, opener(address) as opens:
        yield opens


@pytest.fixture
def store(another: Open) -> Store:
    opened = another()
    opened.configure(TWO)
    return opened


def entries(store: Store) -> dict[str, Entry]:
    return store.read(lambda ledger: dict(ledger.entries))


def test_a_new_store_knows_nobody(another: Open) -> None:
    store = another()
    assert store.read(lambda ledger: (ledger.quotas, dict(ledger.entries))) == (Quotas(), {})
    answer = store.admit(make_charge())
    assert isinstance(answer, Refused)
    assert answer.reason is Reason.NO_SUCH_TENANT


def test_two_that_share_it_see_what_the_other_did(store: Store, another: Open) -> None:
    other = another()
    assert store.admit(make_charge("one", "a", cpu=6)) == Admitted("one")
    answer = other.admit(make_charge("two", "b", cpu=5))
    assert isinstance(answer, Refused)
    assert (answer.reason, answer.shortages[0].available) == (Reason.WAITING_FOR_QUOTA, 4)
    assert other.release("one")
    assert store.admit(make_charge("two", "b", cpu=5)) == Admitted("two")
    assert not store.release("one")


def test_a_refusal_is_by_the_ledger_of_now_and_not_of_before(store: Store, another: Open) -> None:
    other = another()
    store.admit(make_charge("one", "a", cpu=10))
    assert isinstance(other.admit(make_charge("two", "b", cpu=5)), Refused)
    store.release("one")
    assert other.admit(make_charge("two", "b", cpu=5)) == Admitted("two")


def test_a_changed_tree_reaches_everybody(store: Store, another: Open) -> None:
    other = another()
    assert other.read(lambda ledger: ledger.available("a", CPU)) == 10
    smaller = quotas_of(make_set(make_tenant("a", quota=cpu(5, max=6)), offered={"cpu": 10}))
    store.configure(smaller)
    store.configure(smaller)
    assert other.read(lambda ledger: ledger.available("a", CPU)) == 6
    assert isinstance(other.admit(make_charge(cpu=7)), Refused)


def test_a_restart_finds_the_same_ledger(store: Store, another: Open) -> None:
    store.admit_all([make_charge("held", cpu=3), make_charge("leaving", "b", cpu=2)])
    store.terminate("leaving")
    store.record([make_charge("found", "b", cpu=9, priority=3, born=7)])
    store.reserve([make_charge("reserved", pods=1)], NOW + 30, NOW)
    before = store.read(Ledger.copy)
    store.close()
    after = another().read(Ledger.copy)
    assert (after.entries, after.quotas) == (before.entries, before.quotas)
    assert after.entries["leaving"].phase is Phase.TERMINATING
    assert after.usage("b") == {CPU: 11}
    after.verify()


def test_a_batch_is_checked_one_after_the_other(store: Store) -> None:
    answers = store.admit_all([make_charge(f"p{number}", cpu=4) for number in range(4)])
    assert [isinstance(answer, Admitted) for answer in answers] == [True, True, False, False]
    assert [type(a) for a in store.admit_all([])] == []


def test_a_pod_that_comes_twice_in_a_batch_is_charged_once(store: Store) -> None:
    assert store.admit_all([make_charge(cpu=6)] * 3) == [Admitted("pod")] * 3
    assert store.read(lambda ledger: ledger.usage("a")) == {CPU: 6}


def test_a_batch_of_reservations_ends_at_its_deadline(store: Store, another: Open) -> None:
    other = another()
    answers = store.reserve([make_charge(f"p{n}", cpu=3) for n in range(4)], NOW + 30, NOW)
    assert [isinstance(answer, Admitted) for answer in answers] == [True, True, True, False]
    assert other.confirm("p0")
    assert other.confirm("p0")
    assert other.confirm_all(["p0", "p3"]) == [True, False]
    assert other.expire(NOW + 29, set()) == []
    assert other.expire(NOW + 30, {"p2"}) == ["p1"]
    assert store.expire(NOW + 30, lambda uid: uid == "p2") == []
    assert {uid: entry.phase for uid, entry in entries(store).items()} == {"p0": Phase.HELD, "p2": Phase.HELD}
    assert not store.confirm("p1")


def test_a_reservation_survives_whoever_made_it(store: Store, another: Open) -> None:
    store.reserve([make_charge(cpu=8)], NOW + 30, NOW)
    store.close()
    later = another()
    assert isinstance(later.admit(make_charge("other", "b", cpu=3)), Refused)
    assert later.expire(NOW + 31, set()) == ["pod"]
    assert later.admit(make_charge("other", "b", cpu=3)) == Admitted("other")


def test_reconcile_makes_it_equal_to_the_cluster(store: Store, another: Open) -> None:
    store.admit_all([make_charge("gone", cpu=1), make_charge("changed", cpu=1), make_charge("same", cpu=1)])
    bound = {uid: make_charge(uid, cpu=2) for uid in ("found", "changed")} | {
        "same": make_charge("same", cpu=1)
    }
    assert another().reconcile(bound, NOW) == Drift(missing=("found",), different=("changed",))
    assert not store.reconcile(bound, NOW + 1)
    assert store.reconcile(bound, NOW + GRACE_S) == Drift(stray=("gone",))
    assert {uid: entry.charge for uid, entry in entries(store).items()} == bound
    store.read(Ledger.verify)


def test_a_large_reconciliation_is_one_step(store: Store, another: Open) -> None:
    other = another()
    other.admit(make_charge("early"))
    bound = {f"p{n}": make_charge(f"p{n}") for n in range(6_000)}
    assert len(store.reconcile(bound, NOW, grace_s=0).missing) == 6_000
    assert set(entries(other)) == set(entries(another())) == set(bound)
    assert store.release_all([*bound, "unknown"]) == [True] * 6_000 + [False]
    assert entries(other) == {}


def test_no_victim_is_chosen_twice(store: Store, another: Open) -> None:
    other = another()
    store.record([make_charge(f"b-{number}", "b", born=number) for number in range(10)])
    first, second = store.reclaim(make_charge("one")), other.reclaim(make_charge("two"))
    assert isinstance(first, Eviction)
    assert isinstance(second, Eviction)
    assert [victim.uid for answer in (first, second) for victim in answer.victims] == ["b-9", "b-8"]
    assert isinstance(store.admit(make_charge("one")), Refused)
    other.release("b-9")
    assert store.admit(make_charge("one")) == Admitted("one")


def test_a_refused_eviction_changes_nothing(store: Store) -> None:
    assert isinstance(store.reclaim(make_charge("one", "nobody")), Refused)
    assert entries(store) == {}


def test_an_error_in_the_middle_of_a_step_undoes_it(store: Store) -> None:
    def charges() -> Iterator[object]:
        yield make_charge("half", cpu=1)
        yield "no charge"

    with pytest.raises(AttributeError):
        store.admit_all(charges())  # type: ignore[arg-type]
    assert entries(store) == {}
    assert store.admit(make_charge("whole", cpu=1)) == Admitted("whole")


def test_odd_names_are_kept_as_they_are(store: Store, another: Open) -> None:
    names = ["", " ", 'quote"', "\\", "\n", "\x00", "ü" * 300, "{}", "]]"]
    store.record([make_charge(name) for name in names])
    other = another()
    assert set(entries(other)) == set(names)
    assert store.release_all(names) == [True] * len(names)
    assert entries(other) == {}


def test_threads_share_one_store(store: Store) -> None:
    answers: list[Admitted | Refused] = []

    def run(thread: int) -> None:
        answers.extend(store.admit(make_charge(f"{thread}-{number}", "a")) for number in range(5))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(answers) == 80
    assert sum(isinstance(answer, Admitted) for answer in answers) == 10
    assert store.read(lambda ledger: ledger.usage("a")) == {CPU: 10}


def test_a_guard_is_asked_within_the_step_and_sees_who_came_before(store: Store, another: Open) -> None:
    def alone(ledger: Ledger, charge: Charge) -> Refused | None:
        others = ledger.uids_on.get(charge.node, set()) - {charge.uid}
        return Refused(charge.uid, charge.tenant, Reason.NEIGHBOURS, detail="taken") if others else None

    first, second, third = (
        msgspec.structs.replace(make_charge(name, tenant, cpu=1), node=node)
        for name, tenant, node in (("one", "a", "n1"), ("two", "b", "n1"), ("three", "b", "n2"))
    )
    answers = store.reserve([first, second, third], NOW + 60, NOW, alone)
    assert [isinstance(answer, Admitted) for answer in answers] == [True, False, True]
    (late,) = another().reserve([second], NOW + 60, NOW, alone)
    assert isinstance(late, Refused)
    assert str(late) == "Neighbours: taken"
    assert store.reserve([first], NOW + 90, NOW, alone) == [Admitted("one")]
    assert set(entries(store)) == {"one", "three"}


def test_a_plan_made_elsewhere_is_claimed_in_one_step(store: Store) -> None:
    store.admit_all([make_charge(f"v{number}", "a", cpu=1) for number in range(8)])
    store.claim(make_charge("wants", "b", cpu=3), ["v6", "v7", "gone"])
    phases = {uid: entry.phase for uid, entry in entries(store).items() if entry.phase is not Phase.HELD}
    assert phases == {"v6": Phase.TERMINATING, "v7": Phase.TERMINATING, "wants": Phase.CLAIMED}
