"""Fragmentation gradient descent (Weng et al., USENIX ATC 2023): strand as little GPU as possible for typical pods.

F(node) is the GPU milli that a random typical pod could not use there. `typical` float64 [classes, 5] has rows
(cpu milli, GPU count, milli per GPU, popularity, model mask); popularities sum to 1, mask 0 means any model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from scheduler.compiled import compiled
from scheduler.placement.arrivals import Arrival, model_mask

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

COVERAGE = 0.95
"""Share of the arrivals that the typical classes cover, from the most popular down."""


@compiled
def fragmentation(cpu_milli: int, gpu: Int64, model: int, typical: Float64) -> float:
    """F of a node with this much free CPU, these free GPU milli (ascending) and this model number, in GPU milli."""
    idle = gpu.sum()
    total = 0.0
    for row in range(len(typical)):
        count = int(typical[row, 1])
        milli = int(typical[row, 2])
        excluded = typical[row, 4] > 0 and not (int(typical[row, 4]) >> model) & 1
        if (
            excluded
            or count == 0
            or typical[row, 0] > cpu_milli
            or count > len(gpu)
            or gpu[len(gpu) - count] < milli
        ):
            total += typical[row, 3] * idle
            continue
        stranded = 0
        for device in range(len(gpu)):
            if gpu[device] >= milli:
                break
            stranded += gpu[device]
        total += typical[row, 3] * stranded
    return total


@compiled
def fgd_key(before: float, after: float, turn: int) -> float:
    """The published score: a sigmoid of the fall of F in whole points of 100; equal points go to the earlier turn.

    The cut to whole points (about 40 GPU milli near zero) is part of the published policy, and so is that ties are
    broken by node name alone, whose order has nothing to do with the inventory: `turn` is the node's place in a
    seeded permutation, below 2^30.
    """
    points = math.floor(100.0 / (1.0 + math.exp((after - before) / 1000.0)))
    return points - turn / float(1 << 30)


def typical_classes(arrived: Mapping[Arrival, int], model_numbers: Mapping[str, int]) -> Float64:
    """The most popular classes that cover `COVERAGE` of the arrivals; memory does not tell classes apart.

    Args:
        arrived: arrivals per kind, in order of first arrival, which breaks ties of popularity.
        model_numbers: the number of each GPU model of the cluster.
    """
    counts: Counter[tuple[int, int, int, int]] = Counter()
    for kind, count in arrived.items():
        counts[kind.cpu_milli, kind.gpus, kind.gpu_milli, model_mask(kind.models, model_numbers)] += count
    total, covered = counts.total(), 0
    rows: list[tuple[int, int, int, int, int]] = []
    for (cpu, gpus, milli, mask), count in counts.most_common():
        if covered >= COVERAGE * total:
            break
        rows.append((cpu, gpus, milli, count, mask))
        covered += count
    typical = np.array(rows, np.float64).reshape(-1, 5)
    typical[:, 3] /= max(covered, 1)
    return typical
