"""Packs an instance into as few bins as it can in the time it has: READ THIS FIRST.

1. A greedy packing, and the volume bound. Equal: done.
2. A bound without room to waste: list the full patterns and partition the items among them (`tight`).
3. The pattern LP by column generation: a bound that is nearly always the optimum or one less (`lp`, `pricing`).
4. Dives: round the LP to a packing, pricing anew for the rest after every step (`dive`).
5. Large-neighbourhood search: repack some of the bins into one fewer by steps 3 and 4 on their items
   (`neighbourhood`), until the bound is met or the time is over.
"""

from __future__ import annotations

import math

import numpy as np

from scheduler.packing.bound import volume_bound
from scheduler.packing.dive import HASTY, ROUND_OFF, Effort, dive
from scheduler.packing.greedy import greedy
from scheduler.packing.instance import Budget, Instance, Packing, Pattern
from scheduler.packing.lp import PatternLp
from scheduler.packing.neighbourhood import fewer_bins
from scheduler.packing.tight import list_full, partition

STARTS = 10  # greedy packings: the best is the first packing, all are first patterns
NOISE = 0.3
LP_SHARE, DIVE_SHARE, TIGHT_SHARE = 0.35, 0.5, 0.75  # of the time that is left
FIRST_LIMIT, GROWTH, MANY_ROUNDS = 100, 5, 10_000  # effort of pricing
CONVERGED = 1e-3  # bins between value and bound of the LP
SMALLEST, LARGEST, WIDENING, SHRINKAGE = 40.0, 250.0, 1.05, 0.8  # items of a neighbourhood, after a try
THOROUGH = Effort(limit=500, pace=0.025)


def pack(instance: Instance, budget: Budget, seed: int) -> Packing:
    """A packing of all items, proven optimal where `optimal` says so; equal seeds differ only by timing."""
    return _Search(instance, budget, seed).run()


class _Search:
    """The best packing and the best bound so far, while the steps run."""

    def __init__(self, instance: Instance, budget: Budget, seed: int) -> None:
        self.instance, self.budget, self.seed = instance, budget, seed
        self.random = np.random.default_rng(seed)
        self.bound = volume_bound(instance)
        self.patterns: list[Pattern] = []
        self.bins: list[Pattern] = [(item,) for item in range(instance.items)]

    def run(self) -> Packing:
        for step in (self._start, self._tight, self._relax_and_dive, self._improve):
            if len(self.bins) > self.bound and (step == self._start or not self.budget.over()):
                step()
        ordered = sorted(tuple(sorted(pattern)) for pattern in self.bins)
        return Packing(tuple(ordered), self.bound)

    def _offer(self, bins: list[Pattern] | None) -> bool:
        better = bins is not None and len(bins) < len(self.bins)
        if bins is not None and better:
            self.bins = bins
        return better

    def _start(self) -> None:
        taste = np.ones(self.instance.items)
        for _ in range(STARTS):
            bins = greedy(self.instance, taste)
            self.patterns += bins
            self._offer(bins)
            if self.budget.over():
                break
            taste = 1.0 + NOISE * self.random.random(self.instance.items)

    def _tight(self) -> None:
        full = list_full(self.instance, self.bound)
        if full:
            self._offer(partition(self.instance.items, full, self.budget.share(TIGHT_SHARE), self.seed))
            self.patterns += full

    def _relax_and_dive(self) -> None:
        lp = PatternLp(self.instance, self.patterns)
        self._relax(lp, self.budget.share(LP_SHARE))
        time, effort, noise = self.budget.share(DIVE_SHARE), HASTY, 0.0
        while len(self.bins) > self.bound and not time.over():
            self._offer(dive(lp, len(self.bins) - 1, time, effort, self.random, noise))
            effort, noise = Effort(), NOISE
        self.patterns = lp.patterns

    def _relax(self, lp: PatternLp, time: Budget) -> None:
        """Price with more and more effort until the bound meets the value of the LP."""
        limit = FIRST_LIMIT
        while not time.over():
            value, bound = lp.generate(limit, MANY_ROUNDS, time)
            self.bound = max(self.bound, math.ceil(bound - ROUND_OFF))
            if self.bound >= math.ceil(value - ROUND_OFF) or bound > value - CONVERGED:
                break
            limit *= GROWTH

    def _improve(self) -> None:
        size = SMALLEST
        while len(self.bins) > self.bound and not self.budget.over():
            bins = fewer_bins(
                self.instance, self.bins, round(size), self.patterns, self.budget, THOROUGH, self.random
            )
            wider = SHRINKAGE if self._offer(bins) else WIDENING
            size = min(max(size * wider, SMALLEST), LARGEST)
