"""Judges a packing against the published instance, sharing no code with the packer.

Plain Python integers and counting: slow, and easy to believe. Called by `solve`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchmarks.packing.vbp import Known, Published


def violations(instance: Published, bins: Sequence[Sequence[int]]) -> list[str]:
    """What is wrong with a packing, in words; empty when every item is in one bin and no bin is overfull."""
    times = Counter(item for members in bins for item in members)
    found = [
        f"item {item} is in {times[item]} bins" for item in range(len(instance.sizes)) if times[item] != 1
    ]
    found += [f"item {item} does not exist" for item in sorted(times) if not 0 <= item < len(instance.sizes)]
    for number, members in enumerate(bins):
        if not members:
            found.append(f"bin {number} is empty")
        found += _overfull(instance, number, [item for item in members if 0 <= item < len(instance.sizes)])
    return found


def _overfull(instance: Published, number: int, members: Sequence[int]) -> list[str]:
    loads = (
        (dimension, sum(instance.sizes[item][dimension] for item in members))
        for dimension in range(len(instance.capacity))
    )
    return [
        f"bin {number} holds {load} of {instance.capacity[dimension]} in dimension {dimension}"
        for dimension, load in loads
        if load > instance.capacity[dimension]
    ]


def contradictions(known: Known, bins: int, lower_bound: int) -> list[str]:
    """Where a result and the published bounds cannot both be true."""
    found = []
    floor = max(known.lower_bound, known.optimum or 0)
    if bins < floor:
        found.append(f"{bins} bins are fewer than the published bound of {floor}")
    ceiling = known.optimum or known.best_known
    if lower_bound > min(ceiling, known.best_known):
        found.append(f"a lower bound of {lower_bound} is above a published packing of {ceiling} bins")
    return found
