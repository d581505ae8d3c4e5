"""The tables a policy hands to compiled code, and the one place that dispatches on the policy's kind."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.compiled import compiled
from scheduler.placement.fit import take_devices
from scheduler.placement.score.fgd import fgd_key
from scheduler.placement.score.simple import best_fit_key, dot_product_key, gpu_packing_key, random_key

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


class Kind(IntEnum):
    """Which key function a policy uses."""

    RANDOM = 0
    FIRST_FIT = 1
    BEST_FIT = 2
    DOT_PRODUCT = 3
    GPU_PACKING = 4
    FGD = 5
    BULKHEAD = 6


class Prices(NamedTuple):
    """What a policy knows of the cluster and of what has arrived; replaced as a whole when it learns.

    Attributes:
        kind: int64 [1], the policy's `Kind`.
        seed: int64 [1], for policies that draw.
        scale: float64 [resources + 1], largest node's capacity per resource, then its GPU milli; 0 = nobody has it.
        typical: float64 [classes, 4], rows of (cpu milli, GPU count, milli per GPU, popularity).
    """

    kind: Int64
    seed: Int64
    scale: Float64
    typical: Float64


@compiled
def outcome_key(
    prices: Prices,
    identity: int,
    birth: int,
    devices: int,
    free: Int64,
    gpu: Int64,
    request: Int64,
    count: int,
    milli: int,
    first: int,
    gpu_after: Int64,
) -> float:
    """Rank one outcome on one node, higher is better; `gpu_after` is scratch that receives the devices left."""
    kind = prices.kind[0]
    if kind == Kind.RANDOM:
        return random_key(identity, birth, prices.seed[0])
    if kind == Kind.FIRST_FIT:
        return -float(identity)
    if kind == Kind.DOT_PRODUCT:
        return dot_product_key(free, gpu, request, count, milli, prices.scale)
    if kind == Kind.GPU_PACKING:
        return gpu_packing_key(gpu, devices, count, milli, first)
    take_devices(gpu, count, milli, first, gpu_after)
    if kind == Kind.BEST_FIT:
        return best_fit_key(free, request, gpu_after, prices.scale)
    ends = prices.scale[:: len(request)]
    return fgd_key(free[0], gpu, free[0] - request[0], gpu_after, prices.typical, ends)
