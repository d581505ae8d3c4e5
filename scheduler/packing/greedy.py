"""Bin-centric greedy: opens one bin after the other and adds the item that best matches the room left.

The score is the dot product of item and remaining room, each dimension weighted by the demand of the items still to
come (Panigrahy et al., "Heuristics for vector bin packing", 2011, with dynamic weights). A first packing for the
pattern LP, and the last resort for what a dive leaves when its time is up.
"""

from __future__ import annotations

import numpy as np

from scheduler.compiled import compiled_allocating
from scheduler.packing.instance import Float64, Instance, Int64, Pattern


@compiled_allocating
def fill_bins(sizes: Int64, capacity: Int64, fractions: Float64, taste: Float64) -> Int64:
    """Number of the bin of each item, int64 [items]; `taste` float64 [items] multiplies an item's score."""
    items, dimensions = sizes.shape
    number = np.full(items, -1, np.int64)
    demand = fractions.sum(axis=0)
    room = np.empty(dimensions, np.int64)
    free = np.empty(dimensions, np.float64)
    packed = 0
    opened = 0
    while packed < items:
        room[:] = capacity
        free[:] = 1.0
        while True:
            chosen = -1
            highest = -np.inf
            for item in range(items):
                if number[item] >= 0:
                    continue
                score = 0.0
                fits = True
                for k in range(dimensions):
                    if sizes[item, k] > room[k]:
                        fits = False
                        break
                    score += demand[k] * fractions[item, k] * free[k]
                if fits and score * taste[item] > highest:
                    highest = score * taste[item]
                    chosen = item
            if chosen < 0:
                break
            number[chosen] = opened
            packed += 1
            for k in range(dimensions):
                room[k] -= sizes[chosen, k]
                free[k] -= fractions[chosen, k]
                demand[k] -= fractions[chosen, k]
        opened += 1
    return number


def greedy(instance: Instance, taste: Float64) -> list[Pattern]:
    """A packing of all items; ones as `taste` give the plain heuristic, noise gives variety."""
    number = fill_bins(instance.sizes, instance.capacity, instance.fractions(), taste)
    bins: list[list[int]] = [[] for _ in range(int(number.max(initial=-1)) + 1)]
    for item, opened in enumerate(number.tolist()):
        bins[opened].append(item)
    return [tuple(members) for members in bins]
