"""The compiled half of a ranking: judges node classes for one shape and keeps the heap of those that fit.

Called by `ranking` once per decision, and by `refusal` for the numbers of a refusal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.compiled import compiled
from scheduler.model import Reason
from scheduler.placement.classes import GONE, ClassTable, Journal
from scheduler.placement.demand import Question
from scheduler.placement.fit import capacity_reason, is_outcome
from scheduler.placement.heap import Heap, drop, precedes, push
from scheduler.placement.score.prices import Kind, Prices, best_priced, node_potential, outcome_key

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
Int8 = NDArray[np.int8]

FITS = int(Reason.FITS)
NODE_GONE = int(Reason.NODE_GONE)

CLAIM = 1e9
"""Taken off the key of a place that would use up isolation room: above any key, so such a place comes last."""


class View(NamedTuple):
    """What all rankings of a cycle share.

    Attributes:
        devices: int64 [profiles], how many GPUs a node of the profile has.
        models: int64 [profiles], the number of their GPU model.
        prices: the policy's tables.
        potential: float64 [classes], potential of a class as it stands, where `valued` says it is known.
        valued: int64 [classes], birth of the class that `potential` was computed for, -1 after repricing.
        scratch: int64 [devices], overwritten by each evaluation.
    """

    devices: Int64
    models: Int64
    prices: Prices
    potential: NDArray[np.float64]
    valued: Int64
    scratch: Int64


class Tally(NamedTuple):
    """Nodes per reason, and the reason of each node."""

    nodes: Int64
    reason_of: Int8


@compiled
def class_reason(question: Question, table: ClassTable, number: int) -> int:
    """The first check that a class fails: standing facts, tenants on the node, then room."""
    reason = question.profile_reasons[table.profile[number]]
    if reason == FITS:
        reason = question.occupancy_reasons[table.occupancy[number]]
    if reason == FITS:
        return capacity_reason(
            table.free[number], table.gpu[number], question.request, question.gpu[0], question.gpu[1]
        )
    return int(reason)


@compiled
def best_outcome(question: Question, table: ClassTable, view: View, number: int) -> tuple[float, int]:
    """The best key of a class that fits, and the first device (in sorted order) that it takes."""
    count, milli = question.gpu[0], question.gpu[1]
    gpu = table.gpu[number]
    profile = table.profile[number]
    free, devices, model = table.free[number], view.devices[profile], view.models[profile]
    if view.valued[number] != table.birth[number]:
        view.valued[number] = table.birth[number]
        view.potential[number] = node_potential(view.prices, free[0], free[1], gpu, devices, model)
    before = view.potential[number]
    if view.prices.kind[0] == Kind.BULKHEAD:
        best, chosen = best_priced(
            view.prices, before, free, gpu, devices, model, question.request, count, milli
        )
        return best - CLAIM * question.claims[table.occupancy[number]], chosen
    best, chosen = -np.inf, 0
    for first in range(max(len(gpu), 1)):
        if not is_outcome(gpu, count, milli, first):
            continue
        key = outcome_key(
            view.prices,
            before,
            table.identity[number],
            table.birth[number],
            devices,
            model,
            free,
            gpu,
            question.request,
            count,
            milli,
            first,
            view.scratch,
        )
        if key > best:
            best, chosen = key, first
        if count == 0:
            break
    return best - CLAIM * question.claims[table.occupancy[number]], chosen


@compiled
def count_moved(question: Question, table: ClassTable, of_node: Int32, moved: Int32, tally: Tally) -> None:
    """Judge each moved node by where it is now."""
    for node in moved:
        now = of_node[node]
        reason = NODE_GONE if now == GONE else class_reason(question, table, now)
        tally.nodes[tally.reason_of[node]] -= 1
        tally.nodes[reason] += 1
        tally.reason_of[node] = reason


@compiled
def rank_entered(
    question: Question, table: ClassTable, view: View, entered: Int32, first: int, heap: Heap, size: int
) -> int:
    """Add the classes that journal entries `first, first + 1, …` created; returns the new heap size.

    The entry that created a class carries the class's birth number, so each life of a class is added once.
    """
    for offset in range(len(entered)):
        number = entered[offset]
        if number == GONE or table.nodes[number] == 0 or table.birth[number] != first + offset:
            continue
        if class_reason(question, table, number) == FITS:
            key, _ = best_outcome(question, table, view, number)
            push(heap, size, key, number, first + offset)
            size += 1
    return size


@compiled
def rank_all(question: Question, table: ClassTable, view: View, high: int, heap: Heap) -> int:
    """Fill the heap anew with every living class that fits; returns its size."""
    size = 0
    for number in range(high):
        if table.nodes[number] > 0 and class_reason(question, table, number) == FITS:
            key, _ = best_outcome(question, table, view, number)
            push(heap, size, key, number, table.birth[number])
            size += 1
    return size


@compiled
def is_alive(table: ClassTable, heap: Heap, position: int) -> bool:
    """Tell whether an entry's class still has nodes and is not a later life of a reused row."""
    number = heap.number[position]
    return bool(table.nodes[number] > 0 and table.birth[number] == heap.birth[position])


@compiled
def drop_dead(table: ClassTable, heap: Heap, size: int) -> int:
    """Pop until the best entry is alive; returns the new size."""
    while size > 0 and not is_alive(table, heap, 0):
        drop(heap, size)
        size -= 1
    return size


@compiled
def catch_up(
    question: Question,
    table: ClassTable,
    view: View,
    of_node: Int32,
    journal: Journal,
    unread: tuple[int, int, int],
    renew: bool,
    high: int,
    tally: Tally,
    heap: Heap,
    size: int,
) -> tuple[int, int]:
    """Take in the journal rows `unread[0]:unread[1]`, the first of which is entry number `unread[2]`.

    Ranks every class anew if `renew`. Returns the heap's new size and the first device of the best class: one call
    per decision, because the way into compiled code costs more than what it does there.
    """
    start, stop, first = unread
    count_moved(question, table, of_node, journal.node[start:stop], tally)
    if renew:
        size = rank_all(question, table, view, high, heap)
    else:
        size = rank_entered(question, table, view, journal.entered[start:stop], first, heap, size)
        size = drop_dead(table, heap, size)
    if size == 0:
        return 0, 0
    _, device = best_outcome(question, table, view, heap.number[0])
    return size, device


@compiled
def best_allowed(table: ClassTable, heap: Heap, size: int, allowed: Int8) -> int:
    """Position of the best living entry whose profile is allowed, or -1: for rules that change with each pod."""
    best = -1
    for position in range(size):
        usable = allowed[table.profile[heap.number[position]]] and is_alive(table, heap, position)
        if usable and (best < 0 or precedes(heap, position, best)):
            best = position
    return best
