"""The quota tree when it changes under a ledger that is in use: parents, members and limits that come, go and move."""

from __future__ import annotations

import pytest

from tenants.errors import LedgerError
from tenants.ledger.forest import quotas_of
from tenants.model import Group, Tenant
from tests.support.ledger import (
    BORROWER,
    CAPPED,
    CPU,
    LENDER,
    admitted,
    fill,
    make_group,
    make_ledger,
    make_set,
)
from tests.support.tenants import cpu, make_tenant

PARENT = make_group("org", cpu(20))
MIDDLE = make_group("lab", cpu(10), parent="org")


def test_a_deleted_group_in_the_middle_leaves_nothing_behind_to_borrow() -> None:
    ledger = make_ledger(
        PARENT, MIDDLE, make_tenant("a", parent="lab", quota=cpu(0)), make_tenant("b", parent="org"),
        offered={"cpu": 20},
    )  # fmt: skip
    assert ledger.available("a", CPU) == 20
    orphaned = make_set(make_tenant("a", quota=cpu(0)), make_tenant("b", quota=cpu(5)), offered={"cpu": 5})
    ledger.configure(quotas_of(orphaned))
    assert ledger.available("a", CPU) == 5
    ledger.verify()


def test_a_sibling_that_goes_takes_its_guarantee_with_it() -> None:
    a, b = make_tenant("a", parent="lab", quota=cpu(2)), make_tenant("b", parent="lab", quota=cpu(8))
    ledger = make_ledger(make_group("lab"), a, b)
    ledger.configure(quotas_of(make_set(make_group("lab", cpu(2, max=2)), a)))
    assert ledger.available("a", CPU) == 2


def test_a_tenant_that_goes_leaves_its_pods_to_the_pool_until_they_end() -> None:
    a, b = make_tenant("a", quota=cpu(4)), make_tenant("b", quota=cpu(4))
    ledger = make_ledger(a, b, offered={"cpu": 8})
    fill(ledger, "a", 3)
    ledger.configure(quotas_of(make_set(b, offered={"cpu": 8})))
    assert ledger.available("b", CPU) == 5
    ledger.release("a-0")
    assert ledger.available("b", CPU) == 6
    ledger.configure(quotas_of(make_set(a, b, offered={"cpu": 8})))
    assert ledger.usage("a") == {CPU: 2}
    ledger.verify()


def test_a_max_below_what_is_used_is_a_state_and_admits_nothing_more() -> None:
    ledger = make_ledger(make_tenant(quota=cpu(4, max=9)))
    fill(ledger, "a", 8)
    ledger.configure(quotas_of(make_set(make_tenant(quota=cpu(4, max=6)))))
    assert ledger.available("a", CPU) == -2
    assert not admitted(ledger, "a", 1)
    for number in range(3):
        ledger.release(f"a-{number}")
    assert admitted(ledger, "a", 1)


def test_a_tenant_moves_with_all_its_pods() -> None:
    groups = (make_group("x", cpu(10, max=10)), make_group("y", cpu(10, max=10)))
    ledger = make_ledger(*groups, make_tenant("a", parent="x"), make_tenant("b", parent="y"))
    fill(ledger, "a", 7)
    ledger.configure(quotas_of(make_set(*groups, make_tenant("a", parent="y"), make_tenant("b", parent="y"))))
    assert (ledger.usage("x"), ledger.usage("y")) == ({CPU: 0}, {CPU: 7})
    assert ledger.available("b", CPU) == 3


def test_the_order_of_the_files_changes_nothing() -> None:
    nodes: list[Tenant | Group] = [
        PARENT,
        MIDDLE,
        make_tenant("a", parent="lab", quota=cpu(3)),
        LENDER,
        BORROWER,
    ]
    assert quotas_of(make_set(*nodes)) == quotas_of(make_set(*reversed(nodes)))


@pytest.mark.parametrize(
    "groups",
    [
        (make_group("x", parent="y"), make_group("y", parent="x")),
        (make_group("x", parent="gone"),),
    ],
    ids=["parents in a circle", "a parent that does not exist"],
)
def test_a_tree_that_is_none_is_refused(groups: tuple[Group, ...]) -> None:
    ledger = make_ledger(CAPPED)
    with pytest.raises(LedgerError, match="no path from the root to: x"):
        ledger.configure(quotas_of(make_set(*groups)))
    assert ledger.available("a", CPU) == 6, "the old tree still stands"


def test_one_name_for_a_tenant_and_a_group_is_refused() -> None:
    with pytest.raises(LedgerError, match="a name given twice"):
        make_ledger(make_group("a"), CAPPED)
