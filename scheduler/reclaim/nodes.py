"""Would a node take a pod if these others left? Reads the cluster state, never changes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import numpy as np

from scheduler.model import CPU, EPHEMERAL, MEMORY, Reason, Shape
from scheduler.placement.demand import Demand
from scheduler.placement.fit import capacity_reason
from scheduler.placement.spread import allowed_profiles
from scheduler.placement.state import ClusterState
from scheduler.placement.tenancy import Occupancy

QUOTA_NAMES = {CPU: "cpu", MEMORY: "memory", EPHEMERAL: "ephemeral-storage"}
GPU_RESOURCE = "nvidia.com/gpu"


class Nodes:
    """Who stands where, read once for a pass of plans."""

    def __init__(self, state: ClusterState) -> None:
        self.state = state
        self._on: defaultdict[int, list[str]] = defaultdict(list)
        for uid, standing in state.pods.items():
            self._on[standing.node].append(uid)

    def demand(self, shape: Shape) -> Demand:
        """What the pod asks of a node, with the node facts of the day."""
        demand = self.state.demand(shape)
        demand.learn(self.state.profiles, self.state.occupancies, self.state.tenancy)
        return demand

    def pods_on(self, node: str) -> list[str]:
        """UIDs of all pods on a node; none on one that is unknown."""
        number = self.state.number_of.get(node)
        return [] if number is None else self._on.get(number, [])

    def suitable(self, demand: Demand) -> list[str]:
        """The nodes whose standing facts let the pod in, nearest to having room first."""
        state = self.state
        if demand.admission.refusal:
            return []
        allowed = allowed_profiles(state, demand) if demand.shape.spread else None
        request = np.maximum(demand.request, 1)
        found = []
        for name, number in state.number_of.items():
            profile = int(state.profile_of[number])
            if demand.question.profile_reasons[profile] != Reason.FITS:
                continue
            if allowed is None or allowed[profile]:
                lacking = np.maximum(demand.request - state.free[number], 0) / request
                found.append((float(lacking.max()), name))
        return [name for _, name in sorted(found)]

    def reason(self, node: str, demand: Demand, gone: Collection[str]) -> Reason:
        """FITS, or the first thing that keeps the pod off the node when `gone` have left it."""
        state, number = self.state, self.state.number_of[node]
        profile = Reason(int(demand.question.profile_reasons[state.profile_of[number]]))
        if profile:
            return profile
        standing = [(uid, state.pods[uid]) for uid in self.pods_on(node)]
        stay = [state.demands[one.demand] for uid, one in standing if uid not in gone]
        presence = demand.admission.presence
        if presence is not None:
            there = {one.admission.presence for one in stay if one.admission.presence is not None}
            limit = state.occupancies[state.occupancy_of[number]].limit
            beside = state.tenancy.coresidency(Occupancy(tuple(sorted(there)), limit), presence)
            if beside:
                return beside
        free, devices = state.free[number].copy(), state.gpu_free[number].copy()
        for uid, one in standing:
            if uid in gone:
                left = state.demands[one.demand]
                free += left.request
                devices[list(one.devices)] += left.milli
        devices.sort()
        return Reason(capacity_reason(free, devices, demand.request, demand.count, demand.milli))

    def short_of(self, node: str, demand: Demand) -> frozenset[str]:
        """The resources, by the names of quotas, of which the node has too little free for the pod."""
        state, number = self.state, self.state.number_of[node]
        free = state.free[number]
        short = {
            QUOTA_NAMES.get(name, name)
            for name, column in state.columns.items()
            if demand.request[column] > free[column]
        }
        if demand.count and int((state.gpu_free[number] >= demand.milli).sum()) < demand.count:
            short.add(GPU_RESOURCE)
        return frozenset(short)
