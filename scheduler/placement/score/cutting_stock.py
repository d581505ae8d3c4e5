"""What a free fraction of a GPU is worth: the cutting-stock value of a residual under the sizes that have arrived.

A GPU is a bar of 1000 milli, arrivals are pieces to be cut from it. The dual of the cutting-stock LP (Gilmore and
Gomory, Operations Research 9, 1961) prices each size so that no way of cutting a bar earns more than 1; a residual is
worth the best cut of it. 190 milli left beside a pod of 810 are worth nothing where few pods are that small.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ortools.linear_solver import pywraplp

from scheduler.compiled import compiled
from scheduler.model import GPU_MILLI

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

ROUNDS = 200
TOLERANCE = 1e-6


class CuttingStock:
    """The dual LP: a price per size, what arrived earns most, no known cut of a GPU earns more than 1.

    One program for the life of a policy: sizes and cuts are added as they are met, and each solution starts from the
    one before.
    """

    def __init__(self) -> None:
        self._solver = pywraplp.Solver.CreateSolver("GLOP")
        self._solver.Objective().SetMaximization()
        self._prices: dict[int, Any] = {}

    def waste(self, arrived: Mapping[int, int]) -> Float64:
        """For a residual of 0 … 1000 milli, how many of them are worth nothing.

        Args:
            arrived: pods that ask for one device, per milli asked; what has been named once stays named.

        Returns:
            float64 [1001]; all zero before anything has arrived.
        """
        if not arrived:
            return np.zeros(GPU_MILLI + 1)
        for size, count in arrived.items():
            if size not in self._prices:
                self._prices[size] = self._solver.NumVar(0.0, 1.0, "")
                self._forbid_gain(((size, GPU_MILLI // size),))
            self._solver.Objective().SetCoefficient(self._prices[size], float(count))
        value = self._value_of_residuals()
        for _ in range(ROUNDS):
            if value.worth[GPU_MILLI] <= 1.0 + TOLERANCE:
                break
            self._forbid_gain(value.best_cut())
            value = self._value_of_residuals()
        return np.arange(GPU_MILLI + 1) - GPU_MILLI * value.worth

    def _forbid_gain(self, cut: tuple[tuple[int, int], ...]) -> None:
        """Add a cut: (size, copies) pairs."""
        row = self._solver.Constraint(-self._solver.infinity(), 1.0)
        for size, copies in cut:
            row.SetCoefficient(self._prices[size], float(copies))

    def _value_of_residuals(self) -> ResidualValue:
        """Solve, and value every residual at the prices found."""
        self._solver.Solve()
        sizes = np.array(sorted(self._prices), np.int64)
        prices = np.array([self._prices[size].solution_value() for size in sizes.tolist()])
        worth, last = np.zeros(GPU_MILLI + 1), np.full(GPU_MILLI + 1, -1, np.int64)
        fill_knapsack(sizes, prices, worth, last)
        return ResidualValue(sizes, worth, last)


class ResidualValue:
    """`worth[g]` of a residual of g milli, in GPUs, and the cut that earns it."""

    def __init__(self, sizes: Int64, worth: Float64, last: Int64) -> None:
        self.worth = worth
        self._sizes = sizes
        self._last = last

    def best_cut(self) -> tuple[tuple[int, int], ...]:
        """How a whole GPU earns most, as (size, copies) pairs."""
        copies: dict[int, int] = {}
        left = GPU_MILLI
        while left > 0:
            taken = int(self._last[left])
            if taken < 0:
                left -= 1
                continue
            size = int(self._sizes[taken])
            copies[size] = copies.get(size, 0) + 1
            left -= size
        return tuple(sorted(copies.items()))


@compiled
def fill_knapsack(sizes: Int64, price: Float64, value: Float64, last: Int64) -> None:
    """Unbounded knapsack over 0 … 1000 milli: best price, and the last size taken (-1: one milli is left over)."""
    for room in range(1, GPU_MILLI + 1):
        value[room] = value[room - 1]
        for number in range(len(sizes)):
            size = sizes[number]
            if size <= room and value[room - size] + price[number] > value[room] + 1e-12:
                value[room] = value[room - size] + price[number]
                last[room] = number
