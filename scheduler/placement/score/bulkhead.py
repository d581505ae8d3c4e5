"""The `bulkhead` ranking: place where the node's potential falls most, at prices learned from what has arrived.

    Phi(node) = waste + FRICTION x (misfit + starvation - reservation)                        in GPU milli

    waste        sum over GPUs of the free milli that no cut of the arrived sizes can use     (`cutting_stock`)
    misfit       sum over GPUs of free milli x the share of arrivals that cannot use them: too small a fraction, another
                 model, too little CPU on the node; pods without GPUs count among those     (FGD's F, per device)
    starvation   sum over typical shapes m of w_m x the GPU left idle when the node is filled with copies of m, because
                 CPU or memory runs out first; w_m is m's share of the GPU demand
    reservation  sum over multi-GPU shapes of price x copies the node can still hold; the price is what m asks times
                 min(1, copies still to come / copies the cluster can still hold)^2

Waste is certain; the rest is an expectation over arrivals that may go elsewhere, hence FRICTION. On a node without
GPUs Phi is the same filling with shapes, in shares of the average node: what is left of CPU and memory.
Nothing here is a fact of one trace: prices come from the nodes and the arrivals. docs/decisions/0002 has the ablation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.compiled import compiled
from scheduler.model import GPU_MILLI

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

FRICTION = 0.125
"""Weight of the expected terms; from 1/16 to 1/4 the results hardly differ (docs/decisions/0002)."""


class PriceTable(NamedTuple):
    """All that a potential reads; amounts in GPU milli, FRICTION already applied.

    Attributes:
        residual: float64 [1001], certain waste of a device with so many milli free.
        levels: int64 [L], ascending CPU milli that GPU pods ask.
        column_of: int64 [1001], column of `misfit` for a device with so many milli free.
        misfit: float64 [models, L + 1, columns], waste per free milli, by model number and CPU level.
        starvation: float64 [3, M], rows: GPU milli per CPU milli, per MiB, weight.
        filling: float64 [4, M], for nodes without GPUs, rows: copies per CPU milli, per MiB, worth of a copy, weight.
        worth: float64 [2], worth of a CPU milli and of a MiB on a node without GPUs.
        reserved: int64 [R, 5], multi-GPU shapes: CPU milli, MiB, devices, milli each, model mask (0: any).
        reserve_price: float64 [R].
    """

    residual: Float64
    levels: Int64
    column_of: Int64
    misfit: NDArray[np.float64]
    starvation: Float64
    filling: Float64
    worth: Float64
    reserved: NDArray[np.int64]
    reserve_price: Float64


@compiled
def fall_key(fall: float, tie: float) -> float:
    """The fall of the potential in whole micro-GPU, so that equal falls are equal; `tie` in [-1, 0] breaks ties."""
    return float(np.floor(fall * 1000.0 + 0.5) + 0.5 * tie)


@compiled
def potential(cpu: int, memory: int, gpu: Int64, devices: int, model: int, table: PriceTable) -> float:
    """Phi of a node with this much free; `gpu` ascending, the node's own `devices` are the last of the row."""
    if devices == 0:
        return leftover(float(cpu), float(memory), table.filling, table.worth)
    phi, idle, whole = devices_phi(cpu, gpu, devices, model, table)
    return (
        phi
        + starved(float(cpu), float(memory), float(idle), table.starvation)
        - reserved(cpu, memory, model, whole, table)
    )


@compiled
def best_fall(
    cpu: int,
    memory: int,
    gpu: Int64,
    devices: int,
    model: int,
    before: float,
    count: int,
    milli: int,
    table: PriceTable,
) -> tuple[float, int]:
    """The largest fall of Phi when a request joins, and the first device (in sorted order) that it takes.

    Args:
        cpu: milli that are free afterwards; the request fits.
        memory: MiB that are free afterwards.
        gpu: int64 [devices], free milli before, ascending.
        devices: how many of the row are the node's own.
        model: the number of their model.
        before: Phi of the node as it stands.
        count: devices asked.
        milli: milli asked of each.
        table: the prices.

    Only the device that is cut tells the outcomes of one node apart: the rest is computed once.
    """
    if devices == 0:
        return before - leftover(float(cpu), float(memory), table.filling, table.worth), 0
    phi, idle, whole = devices_phi(cpu, gpu, devices, model, table)
    phi += starved(float(cpu), float(memory), float(idle - count * milli), table.starvation)
    last = len(gpu) - count
    if count == 0 or milli == GPU_MILLI:
        phi -= count * device_phi(cpu_level(cpu, table), GPU_MILLI, model, table)
        return before - phi + reserved(cpu, memory, model, whole - count, table), last if count else 0
    level = cpu_level(cpu, table)
    kept, broken = 0.0, 0.0
    if whole > 1:
        kept = reserved(cpu, memory, model, whole, table)
        broken = reserved(cpu, memory, model, whole - 1, table)
    best, chosen = -np.inf, 0
    for first in range(len(gpu) - devices, len(gpu)):
        free = gpu[first]
        if free < milli or (first > 0 and gpu[first - 1] == free):
            continue
        change = device_phi(level, free - milli, model, table) - device_phi(level, free, model, table)
        fall = before - phi - change + (broken if free == GPU_MILLI else kept)
        if fall > best:
            best, chosen = fall, first
    return best, chosen


@compiled
def cpu_level(cpu: int, table: PriceTable) -> int:
    """The row of `misfit` for a node with that much free CPU."""
    return int(np.searchsorted(table.levels, cpu, side="right"))


@compiled
def device_phi(level: int, free: int, model: int, table: PriceTable) -> float:
    """Waste and misfit of one device with so many milli free."""
    return float(table.residual[free] + free * table.misfit[model, level, table.column_of[free]])


@compiled
def devices_phi(cpu: int, gpu: Int64, devices: int, model: int, table: PriceTable) -> tuple[float, int, int]:
    """Waste and misfit of all devices of a node, their idle milli, and how many are untouched."""
    level = cpu_level(cpu, table)
    phi, idle, whole = 0.0, 0, 0
    for device in range(len(gpu) - devices, len(gpu)):
        free = gpu[device]
        if free > 0:
            idle += free
            whole += free == GPU_MILLI
            phi += device_phi(level, free, model, table)
    return phi, idle, whole


@compiled
def reserved(cpu: int, memory: int, model: int, whole: int, table: PriceTable) -> float:
    """What the multi-GPU shapes that the node can still hold are worth."""
    total = 0.0
    if whole > 1:
        for row in range(len(table.reserve_price)):
            total += table.reserve_price[row] * copies(cpu, memory, model, whole, table.reserved[row])
    return total


@compiled
def starved(cpu: float, memory: float, idle: float, types: Float64) -> float:
    """Expected GPU milli left idle when the node is filled with copies of one typical shape."""
    total = 0.0
    per_cpu, per_memory, weight = types[0], types[1], types[2]
    for kind in range(len(weight)):
        total += weight[kind] * max(0.0, idle - min(cpu * per_cpu[kind], memory * per_memory[kind]))
    return total


@compiled
def leftover(cpu: float, memory: float, types: Float64, worth: Float64) -> float:
    """Expected worth left over when a node without GPUs is filled with copies of one typical shape."""
    whole = cpu * worth[0] + memory * worth[1]
    total = 0.0
    for kind in range(types.shape[1]):
        total += types[3, kind] * (
            whole - min(cpu * types[0, kind], memory * types[1, kind]) * types[2, kind]
        )
    return total


@compiled
def copies(cpu: int, memory: int, model: int, whole: int, shape: Int64) -> int:
    """How many copies of a multi-GPU shape fit on a node with `whole` untouched devices."""
    if whole < shape[2] or cpu < shape[0] or memory < shape[1]:
        return 0
    if shape[4] and not (shape[4] >> model) & 1:
        return 0
    most = 1
    while whole >= (most + 1) * shape[2] and cpu >= (most + 1) * shape[0] and memory >= (most + 1) * shape[1]:
        most += 1
    return most
