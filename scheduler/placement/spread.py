"""Hard topology spread (DoNotSchedule): which zones may take the next pod of a group. Called by `cycle`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from scheduler.model import Spread
from scheduler.placement.constraints import Profile
from scheduler.placement.demand import Demand
from scheduler.placement.state import ClusterState

Int8 = NDArray[np.int8]


Counts = Mapping[tuple[str, str], Mapping[str, int]]
"""Pods per domain, by group and topology key."""


def allowed_profiles(state: ClusterState, demand: Demand, counted: Counts | None = None) -> Int8:
    """1 for each profile whose domain may take one more pod of every group of the shape, else 0.

    As in kube-scheduler: count in the domain + 1 - smallest count over the eligible domains <= maxSkew; nodes
    without the topology label never qualify; domains are those of nodes that the shape selects, tainted or not
    (nodeAffinityPolicy Honor and nodeTaintsPolicy Ignore, the defaults of KEP-3094). `counted` are the pods to
    count, those of the state unless given.
    """
    allowed = np.ones(len(state.profiles), np.int8)
    table = state.classes.table
    found: Counts = state.spread if counted is None else counted
    living = np.unique(table.profile[table.nodes > 0])
    for spread in demand.shape.spread:
        eligible = {
            domain(state.profiles[number], spread)
            for number in living
            if demand.selects(state.profiles[number]) and domain(state.profiles[number], spread)
        }
        counts: Mapping[str, int] = found.get((spread.group, spread.topology_key), {})
        smallest = min((counts.get(name, 0) for name in eligible), default=0)
        for number, profile in enumerate(state.profiles):
            name = domain(profile, spread)
            if not name or counts.get(name, 0) + 1 - smallest > spread.max_skew:
                allowed[number] = 0
    return allowed


def domain(profile: Profile, spread: Spread) -> str:
    """The value of the topology label, empty where the node does not carry it."""
    return dict(profile.labels).get(spread.topology_key, "")
