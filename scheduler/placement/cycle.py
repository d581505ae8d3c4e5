"""One decision: a pod and a cluster state in, a place or a refusal with its numbers out. READ THIS FIRST.

`Cycle.decide` changes nothing in the state; the caller applies the answer (snapshot, decide, apply). Called by replay
and, for each queued pod, by the serving loop.
"""

from __future__ import annotations

import numpy as np

from scheduler.model import Decision, Placed, Pod, Refused
from scheduler.placement.classes import GONE
from scheduler.placement.demand import Demand
from scheduler.placement.kernel import View
from scheduler.placement.ranking import Ranking
from scheduler.placement.refusal import refuse
from scheduler.placement.score.registry import Policy
from scheduler.placement.spread import allowed_profiles
from scheduler.placement.state import ClusterState


class Cycle:
    """Decides for one cluster state under one policy; keeps a ranking per shape between decisions."""

    def __init__(self, state: ClusterState, policy: Policy) -> None:
        self.state = state
        self.policy = policy
        self._rankings: list[Ranking] = []
        policy.begin(state)
        nothing = np.zeros(0, np.int64)
        self._shared = View(
            nothing, nothing, policy.prices, np.zeros(0), nothing, np.zeros(max(state.devices, 1), np.int64)
        )

    def decide(self, pod: Pod, *, again: bool = False) -> Decision:
        """Choose the best node for a pod that arrives now, or `again` for one that was counted as an arrival before.

        A pod that fits somewhere is placed: no policy may hold it back. The answer is a value either way.
        """
        # 1. Admit: the tenant's rules fix runtime and overhead, or refuse before any node is looked at.
        demand = self.state.demand(pod.shape)
        if demand.admission.refusal:
            return Refused(pod.uid, "TenantRules", detail=demand.admission.refusal)
        # 2. Learn: the policy counts the arrival and may set new prices.
        if not again:
            self.policy.observe(demand)
        # 3. Rank: bring this shape's order of node classes up to date, and take the best that the spread rules leave.
        ranking = self.ranking(demand)
        allowed = allowed_profiles(self.state, demand) if demand.shape.spread else None
        chosen, device = ranking.best(self.state, self.view(), self.policy.pricing, allowed)
        # 4. Answer: the node that joined the class last and the GPUs it gives, or why there is none.
        if chosen == GONE:
            return refuse(pod, ranking, self.state)
        return self._place(pod, demand, chosen, device)

    def ranking(self, demand: Demand) -> Ranking:
        """The ranking of a demand; `Ranking.best` brings it up to date."""
        while len(self._rankings) <= demand.number:
            self._rankings.append(Ranking(self.state.demands[len(self._rankings)]))
        return self._rankings[demand.number]

    def view(self) -> View:
        """What rankings share, rebuilt when profiles, prices or room for classes are new."""
        view, profiles, prices = self._shared, self.state.profiles, self.policy.prices
        if len(view.devices) < len(profiles):
            numbers = self.state.model_numbers
            devices = np.array([profile.gpus for profile in profiles], np.int64)
            models = np.array([numbers[profile.gpu_model] for profile in profiles], np.int64)
            view = view._replace(devices=devices, models=models)
        room = len(self.state.classes.table.nodes)
        if view.prices is not prices or len(view.valued) < room:
            view = view._replace(prices=prices, potential=np.zeros(room), valued=np.full(room, -1, np.int64))
        self._shared = view
        return view

    def _place(self, pod: Pod, demand: Demand, chosen: int, device: int) -> Placed:
        number = self.state.classes.members[chosen][-1]
        node = self.state.nodes[number]
        assert node is not None, "a member of a class is part of the cluster"  # noqa: S101
        if not demand.count:
            return Placed(pod.uid, node.name)
        by_free = self.state.gpu_free[number].argsort(kind="stable")
        devices = sorted(by_free[device : device + demand.count].tolist())
        return Placed(pod.uid, node.name, tuple(devices))
