"""Turns the fractions of the pattern LP into a packing: takes the surest bins, prices anew for the rest, repeats."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec
import numpy as np

from scheduler.packing.greedy import greedy
from scheduler.packing.instance import Budget, Instance, Pattern
from scheduler.packing.lp import PatternLp

SURE = 0.95  # a pattern used this much is taken with all others like it
LIKELY = 0.6  # the least of a pattern that is taken beside a larger one in one step
ROUND_OFF = 1e-6


class Effort(msgspec.Struct, frozen=True):
    """How thorough a dive is: `limit` of pricing, pricing rounds per step, bins per step as a share of open items."""

    limit: int = 100
    rounds: int = 3
    pace: float = 0.05


HASTY = Effort(rounds=1, pace=0.1)


def dive(
    lp: PatternLp, target: int, budget: Budget, effort: Effort, random: np.random.Generator, noise: float
) -> list[Pattern] | None:
    """A packing of at most `target` bins, or None: out of reach. `noise` 0 follows the LP exactly.

    When the time is up, what is left is rounded without pricing.
    """
    chosen: list[Pattern] = []
    try:
        while lp.open.any():
            reached = len(chosen) + _rest(lp, target - len(chosen), budget, effort)
            if reached > target:
                return None
            if budget.over():
                chosen += _rush(lp)
                break
            chosen += _take(lp, effort, random, noise)
        bins = disjoint(lp.instance, chosen)
    finally:
        lp.reopen()
    return bins if len(bins) <= target else None


def _rest(lp: PatternLp, allowed: int, budget: Budget, effort: Effort) -> int:
    """Bins the open items need; given up only after pricing to the end."""
    value, _ = lp.generate(effort.limit, effort.rounds, budget)
    if math.ceil(value - ROUND_OFF) > allowed and not budget.over():
        value, _ = lp.generate(effort.limit, lp.instance.items, budget)
    return math.ceil(value - ROUND_OFF)


def _take(lp: PatternLp, effort: Effort, random: np.random.Generator, noise: float) -> list[Pattern]:
    """Close the items of the patterns that the LP is surest of; the patterns, cut to the items that were open."""
    used = lp.fractions()
    lure = np.array([amount for amount, _ in used]) * (1.0 + noise * random.random(len(used)))
    at_once = max(1, int(lp.open.sum() * effort.pace))
    taken: list[Pattern] = []
    for at in np.argsort(-lure).tolist():
        amount = lure[at]
        if taken and (amount < LIKELY or (amount < SURE and len(taken) >= at_once)):
            break
        members = tuple(item for item in used[at][1] if lp.open[item])
        if not members or (taken and amount < SURE and len(members) < len(used[at][1])):
            continue
        lp.close(members)
        taken.append(members)
    return taken


def _rush(lp: PatternLp) -> list[Pattern]:
    """What the LP uses most, as far as it does not overlap: time is up."""
    taken: list[Pattern] = []
    for _, pattern in sorted(lp.fractions(), reverse=True):
        if lp.open[list(pattern)].all():
            lp.open[list(pattern)] = False
            taken.append(pattern)
    return taken


def disjoint(instance: Instance, patterns: Iterable[Pattern]) -> list[Pattern]:
    """A packing from patterns that may overlap, miss items, or (negative sizes) no longer fit once cut."""
    missing = np.ones(instance.items, np.bool_)
    bins: list[Pattern] = []
    for pattern in patterns:
        members = tuple(item for item in pattern if missing[item])
        if members and instance.fits(members):
            missing[list(members)] = False
            bins.append(members)
    rest = np.flatnonzero(missing)
    if len(rest):
        small = greedy(instance.part(rest), np.ones(len(rest)))
        bins += [tuple(int(rest[item]) for item in members) for members in small]
    return bins
