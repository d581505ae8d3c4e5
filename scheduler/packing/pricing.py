"""Finds patterns worth more than one bin at given item values: the pricing step of the pattern LP.

A depth-first search for a vector knapsack, once per item as the first of its pattern, so that one call yields many
different patterns. Items are tried by value per weight, the weight being the mean over dimensions; the classic
fractional bound on that one surrogate constraint cuts the search.
"""

from __future__ import annotations

import numpy as np

from scheduler.compiled import compiled_allocating
from scheduler.packing.instance import Float64, Instance, Int64

EPSILON = 1e-6
LEAST_WEIGHT = 1e-4  # keeps value per weight finite


@compiled_allocating
def fits(sizes: Int64, item: int, room: Int64, depth: int) -> bool:
    """Tell whether row `depth` of `room` has what the item asks; rows by number, as slices would cost a count."""
    for k in range(sizes.shape[1]):  # noqa: SIM110  # a generator does not compile
        if sizes[item, k] > room[depth, k]:
            return False
    return True


@compiled_allocating
def next_item(
    sizes: Int64,
    value: Float64,
    weight: Float64,
    order: Int64,
    at: int,
    room: Int64,
    depth: int,
    space: float,
    missing: float,
) -> tuple[int, bool]:
    """The next position from `at` whose item fits, and whether there is one that can still yield `missing` value.

    Without one, the position is where the search stopped.
    """
    while at < len(order):
        item = order[at]
        if value[item] / weight[item] * space <= missing:
            return at, False
        if fits(sizes, item, room, depth):
            return at, True
        at += 1
    return at, False


@compiled_allocating
def best_pattern(
    sizes: Int64,
    capacity: Int64,
    value: Float64,
    weight: Float64,
    order: Int64,
    start: int,
    limit: int,
    room: Int64,
    place: Int64,
    worth: Float64,
    space: Float64,
    found: Int64,
) -> tuple[int, float]:
    """The best pattern worth more than 1 whose first item in `order` is at `start`, written to `found`.

    `room` [depth + 1, dimensions], `place`, `worth` and `space` [depth + 1] are the stack of the search. At most
    `limit` items are looked at per second item, so that a cut search has seen many beginnings and not one to its end.
    Returns the length (0: none) and a worth that no pattern with this first item exceeds by more than EPSILON.
    """
    room[0] = capacity
    worth[0], space[0] = 0.0, 1.0
    best, length, depth, looked, at, fitting = 1.0 + EPSILON, 0, 0, 0, start, True
    ceiling = best
    while True:
        if fitting:
            item = order[at]
            place[depth] = at
            for k in range(len(capacity)):
                room[depth + 1, k] = room[depth, k] - sizes[item, k]
            worth[depth + 1] = worth[depth] + value[item]
            space[depth + 1] = space[depth] - weight[item]
            depth += 1
            if worth[depth] > best + EPSILON:
                best, length = worth[depth], depth
                found[:length] = order[place[:length]]
        elif depth == 1:
            return length, max(best, ceiling)
        elif looked > limit:
            item = order[place[1]]  # no later item is worth more per weight
            ceiling = max(ceiling, worth[2] + value[item] / weight[item] * space[2])
            looked, depth = 0, 1
            at = place[depth]
        else:
            depth -= 1
            at = place[depth]
            if depth == 1:
                looked = 0
        begin = at + 1
        at, fitting = next_item(
            sizes, value, weight, order, begin, room, depth, space[depth], best - worth[depth]
        )
        looked += at - begin + 1


@compiled_allocating
def price(
    sizes: Int64, capacity: Int64, value: Float64, weight: Float64, depth: int, limit: int
) -> tuple[Int64, Int64, float]:
    """Patterns worth more than 1 at `value`: int64 [patterns, depth], their lengths, and a worth that none exceeds.

    `limit` bounds the items looked at per pair of first items; where none met it, that worth is the true maximum.
    """
    dimensions = len(capacity)
    order = np.argsort(-(value / weight))
    while len(order) and value[order[-1]] <= EPSILON:
        order = order[:-1]
    patterns = np.empty((len(order), depth), np.int64)
    lengths = np.empty(len(order), np.int64)
    room = np.empty((depth + 1, dimensions), np.int64)
    place = np.empty(depth + 1, np.int64)
    worth = np.empty(depth + 1, np.float64)
    space = np.empty(depth + 1, np.float64)
    count, highest = 0, 1.0
    for start in range(len(order)):
        if value[order[start]] / weight[order[start]] <= 1.0:
            break
        length, most = best_pattern(
            sizes, capacity, value, weight, order, start, limit, room, place, worth, space, patterns[count]
        )
        highest = max(highest, most)
        if length:
            lengths[count] = length
            count += 1
    return patterns[:count], lengths[:count], highest + 2.0 * EPSILON


def surrogate_weights(instance: Instance) -> Float64:
    """One weight per item: its mean size, dimensions weighted by what all items need of them; positive."""
    demand = np.maximum(instance.fractions().sum(axis=0), EPSILON)
    weights: Float64 = np.maximum(instance.fractions() @ (demand / demand.sum()), LEAST_WEIGHT)
    return weights


def deepest(instance: Instance) -> int:
    """An upper bound on the items in one bin: in each dimension the smallest ones, as long as they fit."""
    reached = np.cumsum(np.sort(instance.sizes, axis=0), axis=0) <= instance.capacity
    last = [int(np.flatnonzero(column)[-1]) + 1 if column.any() else 1 for column in reached.T]
    return min(last, default=1)
