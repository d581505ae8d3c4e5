"""The tables a policy hands to compiled code, and the one place that dispatches on the policy's kind."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.compiled import compiled
from scheduler.placement.fit import take_devices
from scheduler.placement.score.bulkhead import PriceTable, best_fall, fall_key, potential
from scheduler.placement.score.fgd import fgd_key, fragmentation
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
        scale: float64 [resources + 1], weight of a unit per resource, then of a GPU milli; see `simple`.
        typical: float64 [classes, 5], rows of (cpu milli, GPU count, milli per GPU, popularity, model mask).
        turns: int64 [nodes], a permutation that breaks ties between nodes, for policies that tell nodes apart.
        table: the prices of `bulkhead`.
    """

    kind: Int64
    seed: Int64
    scale: Float64
    typical: Float64
    turns: Int64
    table: PriceTable


@compiled
def node_potential(prices: Prices, cpu: int, memory: int, gpu: Int64, devices: int, model: int) -> float:
    """The potential of a node with this much free, for the policies that rank by its fall; else 0."""
    kind = prices.kind[0]
    if kind == Kind.BULKHEAD:
        return potential(cpu, memory, gpu, devices, model, prices.table)
    if kind == Kind.FGD:
        return fragmentation(cpu, gpu, model, prices.typical)
    return 0.0


@compiled
def outcome_key(
    prices: Prices,
    before: float,
    identity: int,
    birth: int,
    devices: int,
    model: int,
    free: Int64,
    gpu: Int64,
    request: Int64,
    count: int,
    milli: int,
    first: int,
    gpu_after: Int64,
) -> float:
    """Rank one outcome on one node, higher is better.

    `before` is the node's potential now; `gpu_after` is scratch that receives the devices left.
    """
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
        return best_fit_key(free, request, gpu_after.sum(), prices.scale)
    after = fragmentation(free[0] - request[0], gpu_after, model, prices.typical)
    return fgd_key(before, after, prices.turns[identity % len(prices.turns)])


@compiled
def best_priced(
    prices: Prices,
    before: float,
    free: Int64,
    gpu: Int64,
    devices: int,
    model: int,
    request: Int64,
    count: int,
    milli: int,
) -> tuple[float, int]:
    """The best outcome on one node under `Kind.BULKHEAD`; among equal falls the node with the least room left."""
    fall, first = best_fall(
        free[0] - request[0],
        free[1] - request[1],
        gpu,
        devices,
        model,
        before,
        count,
        milli,
        prices.table,
    )
    return fall_key(fall, best_fit_key(free, request, gpu.sum() - count * milli, prices.scale)), first
