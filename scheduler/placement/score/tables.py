"""Builds the price table of the `bulkhead` ranking from the nodes and the arrivals so far. Called at each repricing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from scheduler.model import GPU_MILLI
from scheduler.placement.arrivals import CPU_MILLI, DEVICES, MASK, MEMORY_MIB, MILLI, Arrivals, model_mask
from scheduler.placement.score.bulkhead import FRICTION, PriceTable
from scheduler.placement.score.cutting_stock import CuttingStock
from scheduler.placement.score.scarcity import model_prices, reservations
from scheduler.placement.state import UNSTATED, ClusterState

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

TYPICAL = 32
"""Shapes kept for starvation and filling, largest demand first: one evaluation stays about 100 ns."""


def build(state: ClusterState, arrivals: Arrivals, stock: CuttingStock, worth: Float64) -> PriceTable:
    """Price what has arrived against what the cluster has and what of it is free."""
    shapes, counts = arrived(arrivals, state.model_numbers)
    total = max(float(counts.sum()), 1.0)
    levels, column_of, misfit = misfits(shapes, counts, max(state.model_numbers.values(), default=0) + 1)
    reserved, price = reservations(state, shapes, counts)
    single = shapes[:, DEVICES] == 1
    sizes: dict[int, int] = {}
    for milli, count in zip(shapes[single, MILLI].tolist(), counts[single].tolist(), strict=True):
        sizes[milli] = sizes.get(milli, 0) + int(count)
    return PriceTable(
        residual=stock.waste(sizes),
        levels=levels,
        column_of=column_of,
        misfit=FRICTION * (misfit / total - model_prices(state, shapes, counts)[:, None, None]),
        starvation=starvations(shapes, counts),
        filling=fillings(shapes, counts, worth),
        worth=worth,
        reserved=reserved,
        reserve_price=FRICTION * price,
    )


def arrived(arrivals: Arrivals, model_numbers: Mapping[str, int]) -> tuple[Int64, Float64]:
    """Arrivals as rows (CPU milli, MiB, devices, milli each, model mask) and their counts."""
    rows = [(*kind[:4], model_mask(kind.models, model_numbers)) for kind in arrivals]
    return np.array(rows, np.int64).reshape(-1, 5), np.array(list(arrivals.values()), np.float64)


def misfits(shapes: Int64, counts: Float64, models: int) -> tuple[Int64, Int64, NDArray[np.float64]]:
    """Arrivals that cannot use a device: `levels`, `column_of` and counts [models, levels + 1, columns]."""
    wants = shapes[:, DEVICES] > 0
    levels = np.unique(shapes[wants, CPU_MILLI])
    sizes = np.unique(np.append(shapes[shapes[:, DEVICES] == 1, MILLI], GPU_MILLI))
    column_of = np.searchsorted(sizes, np.arange(GPU_MILLI + 1), side="right").astype(np.int64)
    mask = shapes[wants, MASK][:, None]
    allowed = (mask == 0) | ((mask >> np.arange(models)) & 1 > 0)
    kind, model = np.nonzero(allowed)
    from_level = np.searchsorted(levels, shapes[wants, CPU_MILLI]) + 1
    usable = np.zeros((models, len(levels) + 1, len(sizes) + 1))
    np.add.at(usable, (model, from_level[kind], column_of[shapes[wants, MILLI]][kind]), counts[wants][kind])
    usable = usable.cumsum(axis=1).cumsum(axis=2)  # whoever can use less can use more
    return levels, column_of, counts.sum() - usable


def starvations(shapes: Int64, counts: Float64) -> Float64:
    """[3, M]: GPU milli that one CPU milli and one MiB carry of each typical shape, and its share of the demand."""
    asked = shapes[:, DEVICES] * shapes[:, MILLI]
    top = largest(asked * counts)
    demand = (asked * counts)[top]
    per_cpu = asked[top] / np.maximum(shapes[top, CPU_MILLI], 1e-3)
    per_memory = asked[top] / np.maximum(shapes[top, MEMORY_MIB], 1e-3)
    return np.stack([per_cpu, per_memory, FRICTION * demand / max(demand.sum(), 1.0)])


def fillings(shapes: Int64, counts: Float64, worth: Float64) -> Float64:
    """[4, M]: the same for nodes without GPUs: copies per CPU milli and per MiB, worth of a copy, its share."""
    need = shapes[:, :2] @ worth
    top = largest(need * counts)
    demand = (need * counts)[top]
    per_cpu, per_memory = (1.0 / np.maximum(shapes[top, column], 1e-3) for column in (CPU_MILLI, MEMORY_MIB))
    return np.stack([per_cpu, per_memory, need[top], demand / max(demand.sum(), 1e-9)])


def worth_of(state: ClusterState) -> Float64:
    """[2]: what a CPU milli and a MiB are worth, in thousandths of the average node; 0 where no node states any."""
    stated = np.array([state.capacity(node)[:2] for node in state.nodes if node], np.float64).reshape(-1, 2)
    known = np.where(stated < UNSTATED, stated, 0.0).sum(axis=0)
    worth: Float64 = np.divide(1000.0 * len(stated), known, out=np.zeros(2), where=known > 0)
    return worth


def largest(demand: Float64) -> NDArray[np.intp]:
    """Indices of the `TYPICAL` largest demands above zero."""
    top = np.argsort(-demand, kind="stable")[:TYPICAL]
    return top[demand[top] > 0]
