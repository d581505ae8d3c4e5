"""Fair shares: the golden numbers of water-filling, who borrows first, and what is lent to whom."""

from __future__ import annotations

import pytest

from tenants.ledger.fair import Wish, borrowing_order, dominant_share, shares, split, water_fill
from tenants.ledger.standing import standings
from tenants.model import Allowance
from tenants.quantity import UNLIMITED
from tests.support.ledger import CPU, MEMORY, fill, make_charge, make_group, make_ledger
from tests.support.tenants import cpu, make_tenant

SPLITS = [
    ("Koordinator: 45 left, 60/50/80", 45, [60, 50, 80], [14, 12, 19]),
    ("Koordinator: then 9 left, 50/80", 9, [50, 80], [3, 6]),
    ("equal weights, the first get the odd ones", 5, [1, 1, 1], [2, 2, 1]),
    ("nothing to split", 0, [3, 4], [0, 0]),
    ("nobody weighs", 7, [0, 0], [0, 0]),
    ("nobody there", 7, [], []),
]


@pytest.mark.parametrize(("name", "total", "weights", "want"), SPLITS, ids=[row[0] for row in SPLITS])
def test_a_split_is_exact(name: str, total: int, weights: list[int], want: list[int]) -> None:
    assert split(total, weights) == want, name


FILLS = [
    ("Koordinator's example: the first wants 9 less than its part",
     100, [Wish(20, 15, 60), Wish(90, 20, 50), Wish(90, 20, 80)], [20, 35, 45]),
    ("everybody wants more", 100, [Wish(90, 15, 60), Wish(90, 20, 50), Wish(90, 20, 80)], [29, 32, 39]),
    ("enough for all", 100, [Wish(10), Wish(20)], [10, 20]),
    ("a guarantee that nobody wants is for others", 10, [Wish(0, 5), Wish(9, 5)], [0, 9]),
    ("weights count only above guarantees", 12, [Wish(9, 5, 1), Wish(9, 3, 3)], [6, 6]),
    ("a shrunken pool shrinks guarantees in proportion", 6, [Wish(9, 8), Wish(9, 4)], [4, 2]),
    ("never under a guarantee by rounding", 11, [Wish(4, 4), Wish(4, 4), Wish(4, 3)], [4, 4, 3]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "total", "wishes", "want"), FILLS, ids=[row[0] for row in FILLS])
def test_water_finds_its_level(name: str, total: int, wishes: list[Wish], want: list[int]) -> None:
    assert water_fill(total, wishes) == want, name


def test_shares_go_down_the_tree() -> None:
    ledger = make_ledger(
        make_group("lab", cpu(60)),
        make_tenant("a", parent="lab", quota=cpu(10)),
        make_tenant("b", parent="lab", quota=cpu(10, max=15)),
        make_tenant("c", quota=cpu(20)),
        offered={"cpu": 100},
    )
    assert shares(ledger, CPU, {"a": 90, "b": 90, "c": 90}) == {"lab": 70, "a": 55, "b": 15, "c": 30}
    assert shares(ledger, CPU, {"a": 5, "c": 90}) == {"lab": 5, "a": 5, "b": 0, "c": 90}
    assert shares(ledger, MEMORY, {"a": 5}) == {}


def test_a_reserve_that_is_not_lent_is_nobody_elses_share() -> None:
    ledger = make_ledger(
        make_tenant("a", quota=cpu(50, lend=20)), make_tenant("b", quota=cpu(10)), offered={"cpu": 60}
    )
    assert shares(ledger, CPU, {"b": 60}) == {"a": 0, "b": 30}


def test_without_a_known_size_everybody_may_have_what_it_wants() -> None:
    assert shares(make_ledger(make_tenant(quota=cpu(1))), CPU, {"a": 7}) == {"a": 7}


def test_the_dominant_share_is_the_largest_by_weight() -> None:
    quota = {CPU: Allowance(guaranteed=10, weight=2), MEMORY: Allowance(guaranteed=10)}
    ledger = make_ledger(make_tenant(quota=quota), offered={"cpu": 100, "memory": 200})
    assert dominant_share(ledger, "a", make_charge(cpu=10, memory=10)) == 0
    ledger.record(make_charge(cpu=30, memory=26))
    assert dominant_share(ledger, "a") == 20 * 1_000_000 // (100 * 2)
    assert dominant_share(ledger, "a", make_charge("more", memory=24)) == 40 * 1_000_000 // 200
    assert dominant_share(ledger, "gone") > dominant_share(ledger, "a")


def test_work_within_a_guarantee_goes_before_borrowers_and_small_borrowers_before_large() -> None:
    tenants = [make_tenant(name, quota=cpu(5)) for name in ("large", "small", "within")]
    ledger = make_ledger(*tenants, offered={"cpu": 30})
    fill(ledger, "large", 9)
    fill(ledger, "small", 6)
    fill(ledger, "within", 4)
    pending = [make_charge(f"{name}!", name) for name in ("large", "small", "within")]
    pending.append(make_charge("urgent", "within", priority=1))
    want = ["urgent", "within!", "small!", "large!"]
    assert [one.uid for one in borrowing_order(ledger, pending)] == want


def test_reports_show_what_is_borrowed_and_from_whom() -> None:
    ledger = make_ledger(
        make_group("lab", cpu(12)),
        make_tenant("a", parent="lab", quota=cpu(4)),
        make_tenant("b", parent="lab", quota=cpu(6, max=6)),
        make_tenant("c", quota=cpu(8, lend=4)),
        offered={"cpu": 20},
    )
    fill(ledger, "a", 13)
    fill(ledger, "b", 1)
    found = {one.name: one for one in standings(ledger)}
    figures = {name: (one.used, one.guaranteed, one.borrowed, one.lent) for name, one in found.items()}
    assert figures == {"lab": (14, 12, 2, 0), "a": (13, 4, 9, 0), "b": (1, 6, 0, 5), "c": (0, 8, 0, 2)}
    assert (found["b"].max, found["c"].max) == (6, UNLIMITED)
    assert (found["a"].available, found["c"].available) == (2, 6)


def test_what_a_group_lends_is_lent_by_its_members_after_its_own_extra() -> None:
    ledger = make_ledger(
        make_group("lab", cpu(10)),
        make_tenant("a", parent="lab", quota=cpu(4, lend=3)),
        make_tenant("b", parent="lab", quota=cpu(4)),
        make_tenant("c", quota=cpu(1)),
        offered={"cpu": 11},
    )
    fill(ledger, "c", 8)
    figures = {one.name: (one.borrowed, one.lent) for one in standings(ledger)}
    assert figures == {"lab": (0, 7), "a": (0, 2), "b": (0, 3), "c": (7, 0)}
    fill(ledger, "c", 10)
    assert {one.name: one.lent for one in standings(ledger)} == {"lab": 9, "a": 3, "b": 4, "c": 0}


def test_pods_whose_tenant_is_gone_are_lent_to_as_well() -> None:
    ledger = make_ledger(make_tenant("a", quota=cpu(6)), make_tenant("b", quota=cpu(4)), offered={"cpu": 10})
    ledger.record(make_charge("left behind", "gone", cpu=5))
    assert {one.name: one.lent for one in standings(ledger)} == {"a": 3, "b": 2}
