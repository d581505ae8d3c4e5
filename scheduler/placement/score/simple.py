"""The textbook rankings, as functions of one node's free room; the yardsticks that `bulkhead` is measured against.

Arrays as in `fit`. `scale` float64 [resources + 1] is 1 / (largest node's capacity x resources that count), per
resource and then for GPU milli; 0 where no node states any. All return a key, higher is better.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scheduler.compiled import compiled
from scheduler.model import GPU_MILLI

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@compiled
def best_fit_key(free: Int64, request: Int64, idle_after: int, scale: Float64) -> float:
    """Least room left over, each resource in units of the largest node, all with equal weight; in [-1, 0]."""
    remainder = idle_after * scale[len(request)]
    for column in range(len(request)):
        remainder += (free[column] - request[column]) * scale[column]
    return -float(remainder)


@compiled
def dot_product_key(free: Int64, gpu: Int64, request: Int64, count: int, milli: int, scale: Float64) -> float:
    """Alignment of what is asked with what is free (Grandl et al., Tetris, SIGCOMM 2014)."""
    gpus = scale[len(request)]
    alignment = count * milli * gpus * (gpu.sum() * gpus)
    for column in range(len(request)):
        alignment += request[column] * scale[column] * (free[column] * scale[column])
    return float(alignment)


@compiled
def gpu_packing_key(gpu: Int64, devices: int, count: int, milli: int, first: int) -> float:
    """Fill GPUs that are in use, then free GPUs of nodes that are in use, then fresh nodes (Weng et al., ATC 2023).

    `devices` is how many the node really has; the row may be padded with zeros in front.
    """
    idle = 0
    for device in range(len(gpu)):
        idle += gpu[device] == GPU_MILLI
    if count == 1 and milli < GPU_MILLI and gpu[first] < GPU_MILLI:
        return float(3.0 - gpu[first] / GPU_MILLI)
    if idle < devices:
        return 1.0 - idle / (devices + 1)
    return -float(devices)


@compiled
def random_key(identity: int, birth: int, seed: int) -> float:
    """A reproducible draw per node state (splitmix64), so that a rank stands until the node changes."""
    mixed = np.uint64(identity * 0x9E3779B1 + birth * 0x85EBCA6B + seed + 1)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return float((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)) / float(1 << 53)
