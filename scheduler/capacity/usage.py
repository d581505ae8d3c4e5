"""What a filled cluster uses, what lies idle, and how much of the idle is stranded. Pure.

Stranded (after Weng et al., ATC 2023, for every resource): free capacity times the chance that a random pod of the
workload cannot be placed on that node, summed over all nodes. For GPUs the free fractions that are too small
for the pod count as well, which is FGD's fragmentation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.model import CPU, MEMORY, Pod
from scheduler.placement.fit import capacity_reason
from scheduler.placement.state import ClusterState
from scheduler.replay.run import percent
from scheduler.traces.workload import GPU, capacity_of, request_of

Float64 = NDArray[np.float64]


class Usage(msgspec.Struct, frozen=True):
    """Totals over all nodes, per resource: what they have, what pods asked, overhead paid, what is stranded."""

    nodes: int
    capacity: dict[str, int]
    asked: dict[str, int]
    overhead: dict[str, int]
    stranded: dict[str, int]

    def used_pct(self, resource: str) -> float:
        """What the pods themselves asked for, in percent of capacity."""
        return percent(self.asked.get(resource, 0), self.capacity.get(resource, 0))

    def stranded_pct(self, resource: str) -> float:
        """What is free but of no use to most pods, in percent of capacity."""
        return percent(self.stranded.get(resource, 0), self.capacity.get(resource, 0))


def usage_of(state: ClusterState, pods: Sequence[Pod]) -> Usage:
    """Measure a state whose pods are those of `pods` (the workload that the stranded share is judged by)."""
    present = sorted(state.number_of.values())
    nodes = [node for node in state.nodes if node]
    asked: Counter[str] = Counter()
    overhead: Counter[str] = Counter()
    for standing in state.pods.values():
        demand = state.demands[standing.demand]
        asked.update(request_of(demand.shape))
        overhead.update(dict(demand.admission.overhead))
    return Usage(len(nodes), capacity_of(nodes), dict(asked), dict(overhead), stranded(state, present, pods))


def combined(parts: Sequence[Usage]) -> Usage:
    """Several clusters as one figure."""
    totals: list[Counter[str]] = [Counter(), Counter(), Counter(), Counter()]
    for part in parts:
        for total, values in zip(
            totals, (part.capacity, part.asked, part.overhead, part.stranded), strict=True
        ):
            total.update(values)
    return Usage(sum(part.nodes for part in parts), *(dict(total) for total in totals))


def stranded(state: ClusterState, present: Sequence[int], pods: Sequence[Pod]) -> dict[str, int]:
    """Expected free capacity of the nodes that a random pod of the workload cannot use."""
    popularity = Counter(pod.shape for pod in pods)
    lost = dict.fromkeys((CPU, MEMORY, GPU), 0.0)
    table, classes = state.classes.table, Counter(int(state.classes.of_node[node]) for node in present)
    demands = [(state.demand(shape), count / len(pods)) for shape, count in popularity.items()]
    for number, nodes in classes.items():
        free, gpu = table.free[number], table.gpu[number]
        for demand, chance in demands:
            asked, devices = demand.question.request, demand.question.gpu
            if capacity_reason(free, gpu, asked, devices[0], devices[1]):
                lost[CPU] += nodes * chance * float(free[0])
                lost[MEMORY] += nodes * chance * float(free[1])
                lost[GPU] += nodes * chance * float(gpu.sum())
            elif devices[0]:
                lost[GPU] += nodes * chance * float(gpu[gpu < devices[1]].sum())
    return {name: round(value) for name, value in lost.items()}
