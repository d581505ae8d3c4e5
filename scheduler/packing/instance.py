"""What is to be packed, and what a packing is. Every module of this package speaks in these three values.

A bin is a node, an item a pod, a dimension a resource: consolidation asks the same question as the benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]
Pattern = tuple[int, ...]  # items that fit into one bin together, ascending


class Instance(msgspec.Struct, frozen=True, eq=False):
    """Vector bin packing: `sizes` int64 [items, dimensions], equal bins of `capacity` int64 [dimensions].

    Sizes may be negative (published instances contain such). Raises ValueError when the shapes differ or an item
    does not fit into an empty bin: no number of bins would do.
    """

    sizes: Int64
    capacity: Int64

    def __post_init__(self) -> None:
        if self.sizes.ndim != 2 or self.capacity.shape != self.sizes.shape[1:] or len(self.capacity) == 0:
            raise ValueError(f"sizes {self.sizes.shape} do not go with capacity {self.capacity.shape}")
        oversized = np.flatnonzero((self.sizes > self.capacity).any(axis=1))
        if len(oversized):
            raise ValueError(f"item {oversized[0]} is larger than an empty bin")

    @property
    def items(self) -> int:
        """The number of items."""
        return len(self.sizes)

    def fits(self, pattern: Iterable[int]) -> bool:
        """Tell whether one bin holds these items together."""
        return bool((self.sizes[list(pattern)].sum(axis=0) <= self.capacity).all())

    def fractions(self) -> Float64:
        """Sizes as parts of the capacity, float64 [items, dimensions]; a dimension without capacity counts 0."""
        return self.sizes / np.maximum(self.capacity, 1)

    def part(self, members: Int64) -> Instance:
        """The instance of some of the items, renumbered in the order of `members`."""
        return Instance(np.ascontiguousarray(self.sizes[members]), self.capacity)


class Packing(msgspec.Struct, frozen=True):
    """Every item in exactly one bin; no packing has fewer than `lower_bound` bins."""

    bins: tuple[Pattern, ...]
    lower_bound: int

    @property
    def optimal(self) -> bool:
        """Whether the bound proves that fewer bins are impossible."""
        return len(self.bins) == self.lower_bound


class Budget:
    """Real time that may be spent, in seconds on the given monotonic clock."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.seconds = seconds
        self._end = clock() + seconds

    def left(self) -> float:
        """Seconds until the end, never negative."""
        return max(0.0, self._end - self._clock())

    def over(self) -> bool:
        """Tell whether nothing is left."""
        return self._clock() >= self._end

    def share(self, fraction: float) -> Budget:
        """A budget of a fraction of what is left, starting now."""
        return Budget(self.left() * fraction, self._clock)
