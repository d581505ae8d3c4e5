"""Large-neighbourhood search: empties some bins of a packing and packs their items into one bin fewer, if that goes.

The pattern LP of the few items says within milliseconds whether it can go; only then a dive tries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from scheduler.packing.dive import ROUND_OFF, Effort, dive
from scheduler.packing.instance import Budget, Instance, Int64, Pattern
from scheduler.packing.lp import PatternLp

KEPT_SHARE = 0.6  # a known pattern is inherited when this share of its items is in the neighbourhood
NOISE = 0.3


def fewer_bins(
    instance: Instance,
    bins: list[Pattern],
    size: int,
    known: Iterable[Pattern],
    budget: Budget,
    effort: Effort,
    random: np.random.Generator,
) -> list[Pattern] | None:
    """A packing with fewer bins that differs from `bins` in bins of about `size` items, or None."""
    freed = _choose(instance, bins, size, random)
    members = np.array(sorted(item for at in freed for item in bins[at]))
    part = instance.part(members)
    lp = PatternLp(part, _inherited(part, members, [bins[at] for at in freed], known))
    value, _ = lp.generate(effort.limit, part.items, budget)
    target = len(freed) - 1
    if math.ceil(value - ROUND_OFF) > target:
        return None
    packed = dive(lp, target, budget, effort, random, NOISE)
    if packed is None:
        return None
    kept = [pattern for at, pattern in enumerate(bins) if at not in freed]
    return kept + [tuple(members[list(pattern)].tolist()) for pattern in packed]


def _choose(instance: Instance, bins: list[Pattern], size: int, random: np.random.Generator) -> set[int]:
    """Numbers of bins that hold about `size` items: at random, the emptier the likelier."""
    fractions = instance.fractions().mean(axis=1)
    fill = np.array([fractions[list(pattern)].sum() for pattern in bins])
    rank = np.argsort(np.argsort(fill)) / len(bins)
    freed: set[int] = set()
    items = 0
    for at in np.argsort(rank * random.random() + random.random(len(bins))).tolist():
        freed.add(at)
        items += len(bins[at])
        if items >= size:
            break
    return freed


def _inherited(
    part: Instance, members: Int64, bins: list[Pattern], known: Iterable[Pattern]
) -> Iterable[Pattern]:
    """The freed bins and what known patterns have in common with them, in the numbering of the part."""
    shrinkable = bool((part.sizes >= 0).all())  # part of a pattern fits as well
    number = {item: at for at, item in enumerate(members.tolist())}
    yield from (tuple(number[item] for item in pattern) for pattern in bins)
    for pattern in known:
        common = tuple(number[item] for item in pattern if item in number)
        if len(common) > 1 and len(common) >= KEPT_SHARE * len(pattern) and (shrinkable or part.fits(common)):
            yield common
