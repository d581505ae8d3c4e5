"""Compiles the placement kernel before anything is timed: a first run takes some seconds, later ones read the cache."""

from __future__ import annotations

import functools

from scheduler.model import CPU, Gpu, Node, Placed, Pod, Shape
from scheduler.placement.cycle import Cycle
from scheduler.placement.score.registry import Fgd
from scheduler.placement.state import ClusterState


@functools.cache
def warm_up() -> None:
    """Place one pod on a cluster of one node, and refuse another."""
    state = ClusterState([Node(name="warm-up", allocatable=((CPU, 1000),), gpus=1)])
    cycle = Cycle(state, Fgd())
    for name in ("placed", "refused"):
        pod = Pod(name, Shape(requests=((CPU, 600),), gpu=Gpu(1, 600)))
        decision = cycle.decide(pod)
        if isinstance(decision, Placed):
            state.place(state.demand(pod.shape), decision)
