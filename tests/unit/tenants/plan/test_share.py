"""What a tenant may still take, and who decides: the examples of the quota algebra, worked by hand."""

from __future__ import annotations

import pytest

from tenants.model import Allowance, Dimension, Group, Pool, Tenant, TenantSet
from tenants.plan.share import stand
from tenants.quantity import UNLIMITED, Limit

CPU = Dimension("default", "cpu")


def tree(nodes: dict[str, tuple[str, Allowance]], offered: int | None = None) -> TenantSet:
    """Names that start with g are groups."""
    return TenantSet(
        tenants={name: Tenant(name=name, parent=parent, quota={CPU: share})
                 for name, (parent, share) in nodes.items() if not name.startswith("g")},
        groups={name: Group(name=name, parent=parent, quota={CPU: share})
                for name, (parent, share) in nodes.items() if name.startswith("g")},
        pools={} if offered is None else {"default": Pool(name="default", allocatable={"cpu": offered})},
    )  # fmt: skip


def allow(guaranteed: int, top: Limit = UNLIMITED, lend: Limit = UNLIMITED) -> Allowance:
    return Allowance(guaranteed=guaranteed, max=top, lend=lend)


Nodes = dict[str, tuple[str, Allowance]]
PAIR: Nodes = {"a": ("g", allow(4)), "b": ("g", allow(6))}
KEPT: Nodes = {"a": ("g", allow(4, lend=1)), "b": ("g", allow(6))}


@pytest.mark.parametrize(
    ("name", "model", "used", "want_room", "want_decides"),
    [
        ("nothing bounds it", tree({"a": ("", allow(4))}), {}, UNLIMITED, ""),
        ("its own max", tree({"a": ("", allow(4, 6))}), {"a": 5}, 1, "a"),
        ("lowered under use", tree({"a": ("", allow(4, 6))}), {"a": 9}, -3, "a"),
        ("the group's max", tree({"g": ("", allow(10, 10)), **PAIR}), {"b": 3}, 7, "g"),
        ("the pool", tree({"a": ("", allow(4)), "b": ("", allow(4))}, 8), {"b": 5}, 3, ""),
        ("a neighbour's reserve is not for taking", tree({"g": ("", allow(10, 10)), **KEPT}), {}, 10, "g"),
        (
            "the free part of a reserve is there at once",
            tree({"g": ("", allow(10, 10)), **KEPT}),
            {"b": 9},
            3,
            "g",
        ),
    ],
)
def test_room_and_who_decides(
    name: str, model: TenantSet, used: dict[str, int], want_room: Limit, want_decides: str
) -> None:
    found = stand(model, "a", CPU, used)
    assert (found.room, found.decides) == (want_room, want_decides), name


def test_a_borrower_meets_the_reserve_of_its_neighbour() -> None:
    found = stand(tree({"g": ("", allow(10, 10)), **KEPT}), "b", CPU, {"b": 5})
    assert (found.room, found.decides) == (2, "g"), "10 less the 3 that a keeps less the 5 in use"


def test_the_path_counts_what_is_used_below() -> None:
    model = tree({
        "g": ("", allow(20)), "gg": ("g", allow(10)), "a": ("gg", allow(4)), "b": ("gg", allow(6)),
        "c": ("g", allow(1)),
    })  # fmt: skip
    found = stand(model, "a", CPU, {"a": 1, "b": 2, "c": 4})
    assert [(level.name, level.used) for level in found.levels] == [("a", 1), ("gg", 3), ("g", 7)]
