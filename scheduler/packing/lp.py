"""The pattern LP: how many bins if patterns could be used in parts, by column generation over GLOP.

minimise Σ x_p subject to Σ_{p contains i} x_p >= 1 for every item i (Gilmore and Gomory 1961). Its value rounded up is
a lower bound that is nearly always the optimum or one less; its patterns are what dives build packings from.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ortools.linear_solver import pywraplp

from scheduler.packing.instance import Budget, Instance, Pattern
from scheduler.packing.pricing import EPSILON, deepest, price, surrogate_weights

PARAMETERS = "use_preprocessing:false use_dual_simplex:"  # without presolve GLOP goes on from its last basis


class PatternLp:
    """Holds the patterns found so far, solves the LP over them, and finds more.

    `open` marks the items that still need a bin: a dive closes items one bin at a time, and `reopen` starts again.
    """

    def __init__(self, instance: Instance, patterns: Iterable[Pattern]) -> None:
        self.instance = instance
        self.patterns: list[Pattern] = []
        self.open = np.ones(instance.items, np.bool_)
        self._known: set[Pattern] = set()
        self._weight = surrogate_weights(instance)
        self._deepest = deepest(instance)
        self._solver = pywraplp.Solver.CreateSolver("GLOP")
        self._infinity = self._solver.infinity()
        self._rows = [self._solver.Constraint(1.0, self._infinity) for _ in range(instance.items)]
        self._objective = self._solver.Objective()
        self._variables: list[pywraplp.Variable] = []
        for item in range(instance.items):
            self.add((item,))
        for pattern in patterns:
            self.add(pattern)

    def add(self, pattern: Pattern) -> bool:
        """Take a pattern in; False when it is known."""
        if pattern in self._known:
            return False
        self._known.add(pattern)
        self.patterns.append(pattern)
        variable = self._solver.NumVar(0.0, self._infinity, "")
        self._objective.SetCoefficient(variable, 1.0)
        for item in pattern:
            self._rows[item].SetCoefficient(variable, 1.0)
        self._variables.append(variable)
        return True

    def close(self, items: Iterable[int]) -> None:
        """These items have a bin now and need none of the patterns."""
        for item in items:
            self.open[item] = False
            self._rows[item].SetBounds(0.0, self._infinity)
        self._use_dual_simplex(True)  # closing keeps the basis dual feasible, adding patterns keeps it primal

    def reopen(self) -> None:
        """Every item needs a bin again."""
        self.open[:] = True
        for row in self._rows:
            row.SetBounds(1.0, self._infinity)
        self._use_dual_simplex(True)

    def _use_dual_simplex(self, dual: bool) -> None:
        self._solver.SetSolverSpecificParametersAsString(PARAMETERS + ("true" if dual else "false"))

    def generate(self, limit: int, rounds: int, budget: Budget) -> tuple[float, float]:
        """Add patterns until none pays, for `rounds` at most: the LP value reached, and a bound on the true one.

        `limit` bounds the effort of each pricing search. Dividing the duals by a worth that no pattern exceeds makes
        them feasible, so that their sum is a lower bound whatever the LP has converged to (Farley 1990).
        """
        value, bound = self._solve(), 0.0
        for _ in range(rounds):
            if budget.over():
                break
            added, farley = self._price(limit)
            bound = max(bound, farley)
            if not added:
                break
            value = self._solve()
        return value, bound

    def _solve(self) -> float:
        self._solver.Solve()
        self._use_dual_simplex(False)
        return float(self._objective.Value())

    def _price(self, limit: int) -> tuple[int, float]:
        duals = np.maximum([row.dual_value() for row in self._rows], 0.0) * self.open
        found, lengths, highest = price(
            self.instance.sizes,
            self.instance.capacity,
            duals,
            self._weight,
            self._deepest,
            limit,
        )
        rows = zip(found.tolist(), lengths.tolist(), strict=True)
        added = sum(self.add(tuple(sorted(row[:length]))) for row, length in rows)
        return added, float(duals.sum()) / highest

    def fractions(self) -> list[tuple[float, Pattern]]:
        """How much of each pattern the last solution uses, without the unused ones."""
        used = ((variable.solution_value(), at) for at, variable in enumerate(self._variables))
        return [(amount, self.patterns[at]) for amount, at in used if amount > EPSILON]
