"""What `explain quota` says: what a tenant may still take and who decides, worked by hand, and what pods count."""

from __future__ import annotations

import pytest

from tenants.ledger.book import Ledger
from tenants.model import Allowance, Dimension, Tenant, TenantSet
from tenants.plan.explain_quota import Explained, explain, ledger_of
from tenants.plan.places import Places
from tenants.pods import Pod
from tests.support.ledger import CPU, MEMORY, make_charge, make_group, make_ledger
from tests.support.tenants import CLASSES, cpu, make_tenant

A, B = make_tenant("a", parent="g", quota=cpu(4)), make_tenant("b", parent="g", quota=cpu(6))
KEEPS = make_tenant("a", parent="g", quota=cpu(4, lend=1))
FULL = make_group("g", cpu(10, max=10))
ALONE = make_tenant("a", quota=cpu(4))
CAPPED = make_tenant("a", quota=cpu(4, max=6))


def explained(ledger: Ledger, name: str, **used: int) -> Explained:
    """Of CPU, when each tenant uses so many milli."""
    for tenant, amount in used.items():
        ledger.record(make_charge(f"pod of {tenant}", tenant, cpu=amount))
    [found] = explain(ledger, name, Places([]))
    return found


ROOM = [
    ("nothing bounds it", make_ledger(ALONE), {}, "unlimited", ""),
    ("its own max", make_ledger(CAPPED), {"a": 5}, "1m", "a"),
    ("lowered under use", make_ledger(CAPPED), {"a": 9}, "-3m", "a"),
    ("the group's max", make_ledger(FULL, A, B), {"b": 3}, "7m", "g"),
    ("the pool", make_ledger(ALONE, make_tenant("b", quota=cpu(4)), offered={"cpu": 8}), {"b": 5}, "3m",
     "pool default"),
    ("a reserve is its owner's", make_ledger(FULL, KEEPS, B), {}, "10m", "g"),
    ("the free part of a reserve is there at once", make_ledger(FULL, KEEPS, B), {"b": 9}, "3m", "g"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "ledger", "used", "want_available", "want_decides"), ROOM, ids=[row[0] for row in ROOM]
)
def test_what_is_available_and_who_decides(
    name: str, ledger: Ledger, used: dict[str, int], want_available: str, want_decides: str
) -> None:
    found = explained(ledger, "a", **used)
    assert (found.available, found.decides) == (want_available, want_decides), name


def test_a_borrower_meets_the_reserve_of_its_neighbour() -> None:
    found = explained(make_ledger(FULL, KEEPS, B), "b", b=5)
    assert (found.available, found.decides) == ("2m", "g"), "10 less the 3 that a keeps less the 5 in use"


def test_the_path_counts_what_is_used_below_and_says_who_is_silent() -> None:
    ledger = make_ledger(
        make_group("g", cpu(20)),
        make_group("gg", parent="g"),
        make_tenant("a", parent="gg", quota=cpu(4, weight=3)),
        make_tenant("b", parent="gg", quota=cpu(6, lend=2)),
        make_tenant("c", parent="g", quota=cpu(1)),
    )
    found = explained(ledger, "a", a=1, b=2, c=4)
    assert [(step.name, step.used, step.stated, step.weight) for step in found.path] == [
        ("a", "1m", True, 3),
        ("gg", "3m", False, 1),
        ("g", "7m", True, 1),
    ]


def test_dimensions_of_the_groups_above_are_explained_too() -> None:
    group = make_group("g", {**cpu(10), MEMORY: Allowance(max=8)})
    found = explain(make_ledger(group, A), "a", Places([]))
    assert [one.dimension for one in found] == ["default/cpu", "default/memory"]


SANDBOXED = Dimension("default", "cpu", "bulkhead")
COUNTED = Tenant(
    name="a",
    namespaces=("a",),
    quota={**cpu(100), SANDBOXED: Allowance(), **{Dimension("default", name): Allowance()
           for name in ("pods", "sandboxes")}},
)  # fmt: skip


def pod(
    name: str, namespace: str = "a", runtime_class: str = "", phase: str = "", pool: str = "default"
) -> Pod:
    """No UID, as in a file; 5 milli-CPU, its overhead included."""
    return Pod(uid="", namespace=namespace, name=name, runtime_class=runtime_class, phase=phase, pool=pool,
               requests={"cpu": 5, "memory": 1})  # fmt: skip


COUNTS = [
    ("none", [], (0, 0, 0, 0)),
    ("two without a UID are two", [pod("x"), pod("y")], (10, 2, 0, 0)),
    ("a sandbox, its overhead counted once", [pod("x", runtime_class="bulkhead")], (5, 1, 1, 5)),
    ("a class that is no sandbox", [pod("x", runtime_class="runc")], (5, 1, 0, 0)),
    ("one that is over", [pod("x", phase="Succeeded"), pod("y", phase="Failed")], (0, 0, 0, 0)),
    ("one of nobody", [pod("x", namespace="strange")], (0, 0, 0, 0)),
    ("one in another pool", [pod("x", pool="gpu")], (0, 0, 0, 0)),
]


@pytest.mark.parametrize(("name", "pods", "want"), COUNTS, ids=[row[0] for row in COUNTS])
def test_the_pods_that_count(name: str, pods: list[Pod], want: tuple[int, int, int, int]) -> None:
    usage = ledger_of(TenantSet(tenants={"a": COUNTED}, runtime_classes=CLASSES), pods).usage("a")
    found = (
        usage[CPU],
        usage[Dimension("default", "pods")],
        usage[Dimension("default", "sandboxes")],
        usage[SANDBOXED],
    )
    assert found == want, name
