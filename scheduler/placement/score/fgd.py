"""Fragmentation gradient descent (Weng et al., USENIX ATC 2023): strand as little GPU as possible for typical pods.

F(node) is the GPU milli that a random typical pod could not use there. `typical` float64 [classes, 4] has rows
(cpu milli, GPU count, milli per GPU, popularity); popularities sum to 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scheduler.compiled import compiled

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

COVERAGE = 0.95
"""Share of the arrivals that the typical classes cover, from the most popular down."""


@compiled
def fragmentation(cpu_milli: int, gpu: Int64, typical: Float64) -> float:
    """F of a node with this much free CPU and these free GPU milli (ascending), in GPU milli."""
    idle = gpu.sum()
    total = 0.0
    for row in range(len(typical)):
        count = int(typical[row, 1])
        milli = int(typical[row, 2])
        if count == 0 or typical[row, 0] > cpu_milli or count > len(gpu) or gpu[len(gpu) - count] < milli:
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
def fgd_key(
    cpu_milli: int, gpu: Int64, cpu_after: int, gpu_after: Int64, typical: Float64, scale: Float64
) -> float:
    """The published score: a sigmoid of the fall of F in whole points of 100, then least room left over.

    The cut to whole points (about 40 GPU milli near zero) is part of the published policy. `scale` holds the
    largest node's CPU milli and GPU milli. The remainder is below 1, so it only breaks ties.
    """
    fall = fragmentation(cpu_milli, gpu, typical) - fragmentation(cpu_after, gpu_after, typical)
    points = math.floor(100.0 / (1.0 + math.exp(-fall / 1000.0)))
    remainder = 0.0
    if scale[0] > 0:
        remainder += 0.5 * cpu_after / scale[0]
    if scale[1] > 0:
        remainder += 0.5 * gpu_after.sum() / scale[1]
    return points - 0.5 * remainder


def typical_classes(arrived: dict[tuple[int, int, int], int]) -> Float64:
    """The most popular (cpu milli, GPU count, GPU milli) classes that cover `COVERAGE` of the arrivals.

    Args:
        arrived: arrivals per class, in order of first arrival, which breaks ties of popularity.
    """
    total = sum(arrived.values())
    rows: list[tuple[int, int, int, int]] = []
    covered = 0
    for shape, count in sorted(arrived.items(), key=lambda item: -item[1]):
        if covered >= COVERAGE * total:
            break
        rows.append((*shape, count))
        covered += count
    typical = np.array(rows, np.float64).reshape(-1, 4)
    typical[:, 3] /= max(covered, 1)
    return typical
