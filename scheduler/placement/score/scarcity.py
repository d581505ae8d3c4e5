"""Prices of what only few nodes can give: room for multi-GPU shapes, and GPU models that some pods insist on.

Both follow one rule: what is asked, times the square of demand still to come over what is left, at most 1. Over the
slots left that ratio is the chance that a given slot is the one used, and squared that the others are gone by then.
Demand to come is what arrives while the free GPUs last, at the rate so far. Called by `tables` at each repricing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scheduler.compiled import compiled
from scheduler.model import GPU_MILLI
from scheduler.placement.arrivals import DEVICES, MASK, MILLI
from scheduler.placement.classes import ClassTable
from scheduler.placement.score.bulkhead import copies
from scheduler.placement.state import ClusterState

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

RESERVED = 16
"""Multi-GPU shapes kept for reservation, dearest first."""


def pressure(to_come: Float64, left: Float64) -> Float64:
    """The square of demand to come over what is left, at most 1."""
    return np.minimum(1.0, to_come / np.maximum(left, 1.0)) ** 2


def reservations(state: ClusterState, shapes: Int64, counts: Float64) -> tuple[Int64, Float64]:
    """Multi-GPU shapes whose hosts are scarce, and the price of one slot for each."""
    multi = shapes[:, DEVICES] > 1
    rows, asked = shapes[multi], gpu_demand(shapes, counts).sum()
    if not len(rows):
        return rows[:0], np.zeros(0)
    left = np.zeros(len(rows), np.int64)
    count_slots(rows, state.classes.table, model_of_profile(state), state.classes.high, left)
    to_come = counts[multi] * float(state.gpu_free.sum()) / asked
    price = rows[:, DEVICES] * rows[:, MILLI] * pressure(to_come, left.astype(np.float64))
    top = np.argsort(-price, kind="stable")[:RESERVED]
    top = top[price[top] >= 1.0]
    return rows[top], price[top]


def model_prices(state: ClusterState, shapes: Int64, counts: Float64) -> Float64:
    """[models]: worth of a free GPU milli of a model beyond its use to pods that take any.

    A pod that names several models presses on each in proportion to what is free there.
    """
    numbers = model_of_profile(state)[state.profile_of[: len(state.nodes)]]
    models = max(state.model_numbers.values(), default=0) + 1
    idle = state.gpu_free[: len(state.nodes)].sum(axis=1).astype(np.float64)
    free: Float64 = np.bincount(numbers, idle, minlength=models).astype(np.float64)
    demand = gpu_demand(shapes, counts)
    insisting = (shapes[:, MASK] > 0) & (demand > 0)
    allowed = (shapes[insisting, MASK][:, None] >> np.arange(models)) & 1
    share = allowed * free / np.maximum((allowed * free).sum(axis=1, keepdims=True), 1.0)
    to_come = (demand[insisting] @ share) * free.sum() / max(demand.sum(), 1.0)
    return pressure(to_come, free)


def gpu_demand(shapes: Int64, counts: Float64) -> Float64:
    """GPU milli that have been asked for in each shape."""
    demand: Float64 = shapes[:, DEVICES] * shapes[:, MILLI] * counts
    return demand


def model_of_profile(state: ClusterState) -> Int64:
    """[profiles]: the number of each profile's GPU model."""
    return np.array([state.model_numbers[profile.gpu_model] for profile in state.profiles], np.int64)


@compiled
def count_slots(shapes: Int64, table: ClassTable, models: Int64, high: int, found: Int64) -> None:
    """Add to `found` how many copies of each shape the whole cluster can still hold, each shape for itself."""
    for number in range(high):
        if table.nodes[number] == 0:
            continue
        whole = 0
        for device in range(table.gpu.shape[1]):
            whole += table.gpu[number, device] == GPU_MILLI
        for row in range(len(shapes)):
            fitting = copies(
                table.free[number, 0],
                table.free[number, 1],
                models[table.profile[number]],
                whole,
                shapes[row],
            )
            found[row] += table.nodes[number] * fitting
