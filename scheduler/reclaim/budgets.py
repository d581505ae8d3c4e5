"""PodDisruptionBudgets: how many more pods of a selection may be evicted. Pure; facts of policy/v1, not of the tenant.

The Eviction API refuses a pod that more than one budget selects, so such a pod is nobody's victim.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec


class Budget(msgspec.Struct, frozen=True):
    """`disruptions_allowed` more pods of `namespace` with all of `selector` may be evicted now."""

    namespace: str
    selector: tuple[tuple[str, str], ...]
    disruptions_allowed: int


class PodFacts(msgspec.Struct, frozen=True):
    """What a budget looks at."""

    namespace: str
    labels: tuple[tuple[str, str], ...] = ()


class Budgets:
    """All budgets, and the facts of the pods they may select; a pod without facts is protected by none."""

    def __init__(self, budgets: Sequence[Budget] = (), pods: Mapping[str, PodFacts] | None = None) -> None:
        self._budgets = budgets
        self._pods = pods or {}
        self._known: dict[str, tuple[int, ...]] = {}

    def over(self, uids: Iterable[str]) -> list[str]:
        """Those of `uids`, in their order, whose eviction would overdraw a budget after the ones before them."""
        drawn: Counter[int] = Counter()
        found = []
        for uid in uids:
            selecting = self._selecting(uid)
            if not selecting:
                continue
            budget = selecting[0]
            if len(selecting) > 1 or drawn[budget] >= self._budgets[budget].disruptions_allowed:
                found.append(uid)
            else:
                drawn[budget] += 1
        return found

    def _selecting(self, uid: str) -> tuple[int, ...]:
        known = self._known.get(uid)
        if known is None:
            facts = self._pods.get(uid)
            known = self._known[uid] = tuple(
                number
                for number, budget in enumerate(self._budgets)
                if facts and budget.namespace == facts.namespace and set(budget.selector) <= set(facts.labels)
            )
        return known
