"""Draws the rows of a cluster and of a pod list from a mix. Pure: the random generator comes in seeded."""

from __future__ import annotations

import random
from collections.abc import Sequence

from benchmarks.instances.mixes import Mix, NodeKind, PodKind
from benchmarks.instances.openb import QOS

NODE_COLUMNS = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
POD_COLUMNS = (
    "name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec",
    "qos", "pod_phase", "creation_time", "deletion_time", "scheduled_time",
)  # fmt: skip
LIFETIME_S = 12_902_960
"""The span of the openb trace, about five months."""

Row = tuple[str | int, ...]


def draw_nodes(mix: Mix, count: int, generator: random.Random) -> list[Row]:
    """`count` nodes in the mix's proportions, exact to one node of a kind, in random order."""
    kinds = [kind for kind, nodes in blend(mix.nodes, count) for _ in range(nodes)]
    generator.shuffle(kinds)
    return [
        (f"node-{number:05d}", kind.cpu_milli, kind.memory_mib, kind.gpus, kind.model)
        for number, kind in enumerate(kinds)
    ]


def blend(kinds: Sequence[NodeKind], count: int) -> list[tuple[NodeKind, int]]:
    """Nodes per kind by largest remainder."""
    whole = sum(kind.weight for kind in kinds)
    floors = [count * kind.weight // whole for kind in kinds]
    by_remainder = sorted(range(len(kinds)), key=lambda place: -(count * kinds[place].weight % whole))
    for place in by_remainder[: count - sum(floors)]:
        floors[place] += 1
    return list(zip(kinds, floors, strict=True))


def draw_pods(mix: Mix, count: int, generator: random.Random) -> list[Row]:
    """`count` pods, each drawn by weight, in order of creation."""
    drawn = generator.choices(mix.pods, [kind.weight for kind in mix.pods], k=count)
    created = sorted(generator.randrange(LIFETIME_S) for _ in drawn)
    return [
        pod_row(number, kind, moment, generator)
        for number, (kind, moment) in enumerate(zip(drawn, created, strict=True))
    ]


def pod_row(number: int, kind: PodKind, moment: int, generator: random.Random) -> Row:
    """One pod; its quality of service follows what it asks of GPUs."""
    shares = QOS[kind.qos_group]
    [qos] = generator.choices(list(shares), list(shares.values()))
    asked = (kind.cpu_milli, kind.memory_mib, kind.num_gpu, kind.gpu_milli)
    return (f"pod-{number:06d}", *asked, "", qos, "Running", moment, LIFETIME_S, moment)
