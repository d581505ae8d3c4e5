"""The smallest cluster, in a given mix of node kinds, that holds every pod of a workload.

Found by filling clusters of different sizes and halving the interval between too small and large enough. Pure but
for the replays it runs through `fill`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from scheduler.model import Node, Pod
from scheduler.replay.run import Replay
from scheduler.traces.workload import capacity_of, request_of

Fill = Callable[[list[Node]], Replay | None]
"""Fills a cluster of these nodes; None when some pod found no place."""


def smallest(mix: Sequence[Node], pods: Sequence[Pod], fill: Fill) -> Replay:
    """The replay that filled the smallest cluster that holds all pods."""
    low = lower_bound(mix, pods) - 1
    high = low + 1
    filled = fill(scaled(mix, high))
    while filled is None:
        low, high = high, high + max(1, high // 16)
        filled = fill(scaled(mix, high))
    while high - low > 1:
        middle = (low + high) // 2
        attempt = fill(scaled(mix, middle))
        if attempt is None:
            low = middle
        else:
            high, filled = middle, attempt
    return filled


def lower_bound(mix: Sequence[Node], pods: Sequence[Pod]) -> int:
    """Nodes below which some resource cannot suffice however the pods are packed."""
    asked: Counter[str] = Counter()
    for pod in pods:
        asked.update(request_of(pod.shape))
    capacity = capacity_of(mix)
    return max(
        1, *(math.ceil(len(mix) * asked[name] / capacity[name]) for name in capacity if capacity[name])
    )


def scaled(mix: Sequence[Node], size: int) -> list[Node]:
    """`size` nodes in the proportions of `mix`, by largest remainder, so that every size has the same blend."""
    kinds: dict[Node, int] = Counter(msgspec.structs.replace(node, name="") for node in mix)
    share = {kind: size * count / len(mix) for kind, count in kinds.items()}
    counts = {kind: int(exact) for kind, exact in share.items()}
    by_remainder = sorted(kinds, key=lambda kind: counts[kind] - share[kind])
    for kind in by_remainder[: size - sum(counts.values())]:
        counts[kind] += 1
    every_kind = [kind for kind, count in counts.items() for _ in range(count)]
    return [
        msgspec.structs.replace(kind, name=f"node-{number:05d}") for number, kind in enumerate(every_kind)
    ]
