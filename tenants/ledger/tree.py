"""The algebra of one dimension: what a node of the tenant tree may still take. Pure; `forest` holds one per dimension.

For a node n with members c (formulas of Kueue's cohorts, pkg/cache/scheduler/resource_node.go, on our words):

    guaranteed(n) = max(stated, sum of guaranteed(c))        a group's guarantee includes its members'
    local(n)      = max(0, subtree(n) - lend(n))             reserved for n; 0 when everything may be lent
    subtree(n)    = guaranteed(n) - local of all below n     what n brings to the table
    usage(n)      = own use + sum of max(0, usage(c) - local(c))
    available(n)  = max(0, local - usage) + min(available(parent), subtree - local - max(0, usage - local) + borrow)
    borrow(n)     = max(n) - guaranteed(n)                   no such term when max is unlimited

Usage is a function of what the leaves use, so no order of events can leave a trace in it. Integers are exact and
never wrap; what goes out is clipped to the range of 64 bits. The pool itself is node 0: it holds what its nodes
offer, or no bound when nobody says. Over-admission (a lowered max, a lost node) is a state in which `available` is
negative, not an error; even then the free part of a node's reserve stays admissible, which Kueue does not promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tenants.model import Allowance
from tenants.quantity import CEILING, UNLIMITED, Limit

ROOT = 0
NOTHING_STATED = Allowance()


class Room(NamedTuple):
    """An amount, and the number of the node whose limit decides it."""

    amount: int
    node: int


class Tree:
    """Quota and use of one dimension; nodes are numbered, parents before their members, the pool is ROOT.

    Args:
        paths: nodes from below the root down to each node, itself included; that of ROOT is empty.
        stated: what each node's file says, None where it is silent.
        offered: what the nodes of the pool offer.
    """

    __slots__ = ("borrow", "bounded", "guaranteed", "lend", "local", "parents", "paths", "potential", "subtree",
                 "usage", "weight")  # fmt: skip

    def __init__(
        self,
        paths: Sequence[tuple[int, ...]],
        stated: Sequence[Allowance | None],
        offered: Limit = UNLIMITED,
    ) -> None:
        count = len(paths)
        parents = [(ROOT, *path)[-2] if path else -1 for path in paths]
        shares = [share or NOTHING_STATED for share in stated]
        self.parents = parents
        self.weight = [share.weight for share in shares]
        self.usage = [0] * count
        self.paths = paths
        self.guaranteed = _with_members(parents, [share.guaranteed for share in shares])
        self.bounded = offered is not UNLIMITED
        if offered is not UNLIMITED:
            self.guaranteed[ROOT] = offered
        self.lend = [share.lend for share in shares]
        self.subtree, self.local = self._reserves()
        self.borrow = [
            None if share.max is UNLIMITED else share.max - own
            for share, own in zip(shares, self.guaranteed, strict=True)
        ]
        self.borrow[ROOT] = None
        self.potential = [self.available(node) for node in range(count)]

    def _reserves(self) -> tuple[list[int], list[int]]:
        subtree, local = list(self.guaranteed), [0] * len(self.parents)
        for node in range(len(self.parents) - 1, ROOT, -1):
            lend = self.lend[node]
            local[node] = 0 if lend is UNLIMITED else max(0, subtree[node] - lend)
            kept = self.guaranteed[node] - subtree[node] + local[node]  # by those below, and by itself
            subtree[self.parents[node]] -= kept
        return subtree, local

    def available(self, node: int) -> Room:
        """What `node` may take now, and who decides; negative where it is over-admitted."""
        room, decider = self.subtree[ROOT] - self.usage[ROOT] if self.bounded else CEILING, ROOT
        for step in self.paths[node]:
            used, local, borrow = self.usage[step], self.local[step], self.borrow[step]
            free = local - used if used < local else 0
            if free and room < 0:
                room = 0  # what others were admitted too much does not touch a reserve
            if borrow is not None:
                limit = self.subtree[step] - max(local, used) + borrow
                if limit < room:
                    room, decider = limit, step
            room += free
        return Room(max(-CEILING, min(room, CEILING)), decider)

    def shift(self, node: int, amount: int) -> None:
        """Take `amount` at `node`, or give back a negative one; what exceeds a reserve passes to the parent."""
        while amount:
            before = self.usage[node]
            after = self.usage[node] = before + amount
            if node == ROOT:
                return
            local = self.local[node]
            amount = max(0, after - local) - max(0, before - local)
            node = self.parents[node]

    def maximum(self, node: int) -> Limit:
        """What its file says, `unlimited` where it is silent."""
        borrow = self.borrow[node]
        return UNLIMITED if borrow is None else self.guaranteed[node] + borrow

    def borrowed(self, node: int) -> int:
        """How far `node` is over what it brings; negative while it has room of its own."""
        return self.usage[node] - self.subtree[node]

    def total(self, node: int) -> int:
        """Everything used at and below `node`, members' reserves included."""
        inside = (member for member in range(node + 1, len(self.parents)) if node in self.paths[member])
        hidden = sum(min(self.usage[member], self.local[member]) for member in inside)
        return self.usage[node] + hidden


def _with_members(parents: Sequence[int], stated: Sequence[int]) -> list[int]:
    members = [0] * len(parents)
    guaranteed = list(stated)
    for node in range(len(parents) - 1, -1, -1):
        guaranteed[node] = max(stated[node], members[node])
        if node != ROOT:
            members[parents[node]] += guaranteed[node]
    return guaranteed
