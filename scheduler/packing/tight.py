"""Instances whose bound leaves almost no room to waste: every bin must be full, so all full patterns can be listed.

In the published triplet families three items fill a bin exactly; the full patterns are few and CP-SAT partitions the
items among them. A dive, which rounds, does not hit such a packing.
"""

from __future__ import annotations

import numpy as np
from ortools.sat.python import cp_model

from scheduler.compiled import compiled_allocating
from scheduler.packing.instance import Budget, Instance, Int64, Pattern
from scheduler.packing.pricing import deepest, surrogate_weights

WASTE_SHARE = 50  # tight: in each dimension all bins together may waste at most 1/50 of one bin
LOOK_LIMIT = 400_000_000  # a second or two
PATTERN_LIMIT = 30_000


@compiled_allocating
def admissible(sizes: Int64, at: int, room: Int64, level: int, relief: Int64) -> bool:
    """Tell whether the item goes into row `level` of `room`, now or after negative sizes yet to come."""
    for k in range(sizes.shape[1]):  # noqa: SIM110  # a generator does not compile
        if sizes[at, k] > room[level, k] + relief[at + 1, k]:
            return False
    return True


@compiled_allocating
def hopeless(room: Int64, level: int, relief: Int64, least: Int64, at: int) -> bool:
    """Tell whether no item from position `at` on can go into row `level` of `room`."""
    for k in range(room.shape[1]):  # noqa: SIM110  # a generator does not compile
        if room[level, k] + relief[at, k] < least[at, k]:
            return True
    return False


@compiled_allocating
def is_full(room: Int64, level: int, waste: Int64) -> bool:
    """Tell whether row `level` of `room` leaves something between nothing and `waste`."""
    for k in range(len(waste)):  # noqa: SIM110  # a generator does not compile
        if not 0 <= room[level, k] <= waste[k]:
            return False
    return True


@compiled_allocating
def full_patterns(
    sizes: Int64, capacity: Int64, waste: Int64, relief: Int64, least: Int64, depth: int, look: int, most: int
) -> tuple[Int64, Int64, bool]:
    """All patterns that leave at most `waste` int64 [dimensions] free: int64 [n, depth], lengths, complete.

    `relief` int64 [items + 1, dimensions] is how much the items from a position on can free by negative sizes: until
    then a pattern may be over capacity. `least` of the same shape is the smallest size from a position on.
    """
    patterns = np.empty((most, depth), np.int64)
    lengths = np.empty(most, np.int64)
    room = np.empty((depth + 1, len(capacity)), np.int64)
    room[0] = capacity
    place = np.empty(depth + 1, np.int64)
    count, level, at, looked = 0, 0, 0, 0
    while count < most and looked < look:
        if level == depth or hopeless(room, level, relief, least, at):
            at = len(sizes)
        while at < len(sizes) and not admissible(sizes, at, room, level, relief):
            at += 1
            looked += 1
        if at == len(sizes):
            if level == 0:
                return patterns[:count], lengths[:count], True
            level -= 1
            at = place[level] + 1
            continue
        for k in range(len(capacity)):
            room[level + 1, k] = room[level, k] - sizes[at, k]
        place[level] = at
        level += 1
        at += 1
        looked += 1
        if is_full(room, level, waste):
            patterns[count, :level] = place[:level]
            lengths[count] = level
            count += 1
    return patterns[:count], lengths[:count], False


def list_full(instance: Instance, bins: int) -> list[Pattern]:
    """All patterns that a packing into `bins` bins can use; empty when it may waste much, or when they are too many."""
    waste = instance.capacity * bins - instance.sizes.sum(axis=0)
    if (waste < 0).any() or (waste * WASTE_SHARE > instance.capacity).any():
        return []
    order = np.lexsort((-surrogate_weights(instance), (instance.sizes >= 0).all(axis=1)))
    ordered = instance.part(order)
    relief = np.zeros((instance.items + 1, len(instance.capacity)), np.int64)
    relief[:-1] = np.cumsum(np.maximum(-ordered.sizes, 0)[::-1], axis=0)[::-1]
    least = np.zeros_like(relief)
    least[:-1] = np.minimum.accumulate(ordered.sizes[::-1], axis=0)[::-1]
    found, lengths, complete = full_patterns(
        ordered.sizes, ordered.capacity, waste, relief, least, deepest(instance), LOOK_LIMIT, PATTERN_LIMIT
    )
    if not complete:
        return []
    rows = zip(found.tolist(), lengths.tolist(), strict=True)
    return [tuple(sorted(order[row[:length]].tolist())) for row, length in rows]


def partition(items: int, patterns: list[Pattern], budget: Budget, seed: int) -> list[Pattern] | None:
    """Patterns that hold every item exactly once, or None when there are none or the time is over."""
    model = cp_model.CpModel()
    chosen = [model.new_bool_var("") for _ in patterns]
    holders: list[list[cp_model.IntVar]] = [[] for _ in range(items)]
    for pattern, variable in zip(patterns, chosen, strict=True):
        for item in pattern:
            holders[item].append(variable)
    for variables in holders:
        model.add_exactly_one(variables)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.max_time_in_seconds = budget.left()
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    return [pattern for pattern, variable in zip(patterns, chosen, strict=True) if solver.value(variable)]
