"""The node classes that can take one shape, best first, kept current from the journal of node moves.

A ranking is lazy: it reads the journal only when its shape arrives, and evaluates each class once, so the work per
decision follows the number of shapes in use, not the number of nodes. Entries of classes that died are dropped when
they surface. Beside the order it tallies, per reason, the nodes that are ruled out. Called by `cycle`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.model import Reason
from scheduler.placement.classes import GONE, NodeClasses
from scheduler.placement.demand import Demand, Question
from scheduler.placement.heap import empty_heap
from scheduler.placement.kernel import (
    NODE_GONE,
    Tally,
    View,
    best_allowed,
    best_outcome,
    catch_up,
    count_moved,
)
from scheduler.placement.state import ClusterState

Int8 = NDArray[np.int8]


class Nearest(NamedTuple):
    """The class that came nearest to a request; it stays the nearest until it changes or something is freed."""

    reason: Reason
    number: int
    birth: int
    releases: int
    asked: int | None
    most: int | None


class Ranking:
    """The ranking of one demand; `tally.nodes[reason]` counts nodes, those that fit among them."""

    __slots__ = ("_heap", "_pricing", "_read_to", "_size", "demand", "nearest", "tally")

    def __init__(self, demand: Demand) -> None:
        self.demand = demand
        self.nearest: Nearest | None = None
        self.tally = Tally(np.zeros(len(Reason), np.int64), np.zeros(0, np.int8))
        self._heap = empty_heap(64)
        self._size = 0
        self._read_to = -1
        self._pricing = -1

    def best(
        self, state: ClusterState, view: View, pricing: int, allowed: Int8 | None = None
    ) -> tuple[int, int]:
        """The best class that fits now and the first device it takes, or (GONE, 0).

        Args:
            state: the cluster.
            view: what rankings share; another `pricing` number than last time means other prices.
            pricing: the number of the price table.
            allowed: 1 per profile that this pod may use, for rules that change with each pod.
        """
        classes = state.classes
        question = self.demand.learn(state.profiles, state.occupancies, state.tenancy)
        if len(self.tally.reason_of) < len(state.nodes):
            self._make_node_room(len(state.nodes))
        if self._read_to < classes.journal_start:
            self._recount(question, state)
        unread = classes.journal_end - self._read_to
        renew = pricing != self._pricing or not self._has_room(unread, len(classes))
        if renew:
            self._make_heap_room(2 * len(classes))
        start = self._read_to - classes.journal_start
        self._size, device = catch_up(
            question,
            classes.table,
            view,
            classes.of_node,
            classes.journal,
            (start, start + unread, self._read_to),
            renew,
            classes.high,
            self.tally,
            self._heap,
            self._size,
        )
        self._read_to, self._pricing = classes.journal_end, pricing
        if allowed is None:
            return (int(self._heap.number[0]), device) if self._size else (GONE, 0)
        return self._best_allowed(question, classes, view, allowed)

    def _best_allowed(
        self, question: Question, classes: NodeClasses, view: View, allowed: Int8
    ) -> tuple[int, int]:
        position = best_allowed(classes.table, self._heap, self._size, allowed)
        if position < 0:
            return GONE, 0
        number = int(self._heap.number[position])
        return number, best_outcome(question, classes.table, view, number)[1]

    def _recount(self, question: Question, state: ClusterState) -> None:
        """Judge every node: this ranking has read nothing yet, or the journal was cut before it came back."""
        everyone = np.arange(len(state.nodes), dtype=np.int32)
        count_moved(question, state.classes.table, state.classes.of_node, everyone, self.tally)
        self._read_to = state.classes.journal_end
        self._pricing = -1

    def _make_heap_room(self, needed: int) -> None:
        if len(self._heap.key) < needed:
            self._heap = empty_heap(needed + needed // 2)

    def _has_room(self, more: int, living: int) -> bool:
        """Room for `more` entries, growing unless it is mostly the dead that take it."""
        needed = self._size + more
        if needed <= len(self._heap.key):
            return True
        if needed > 3 * living + 64:
            return False
        grown = empty_heap(2 * needed)
        grown.key[: self._size] = self._heap.key[: self._size]
        grown.number[: self._size] = self._heap.number[: self._size]
        grown.birth[: self._size] = self._heap.birth[: self._size]
        self._heap = grown
        return True

    def _make_node_room(self, nodes: int) -> None:
        more = nodes - len(self.tally.reason_of)
        self.tally.nodes[NODE_GONE] += more
        reason_of = np.concatenate([self.tally.reason_of, np.full(more, NODE_GONE, np.int8)])
        self.tally = Tally(self.tally.nodes, reason_of)
