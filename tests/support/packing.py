"""Builders of packing instances, in the published form and in the packer's own."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from benchmarks.packing.vbp import Published
from scheduler.packing import Budget, Instance, warm_up


def make_published(
    sizes: Sequence[Sequence[int]], capacity: Sequence[int], name: str = "class1_2_2_0"
) -> Published:
    return Published(name, "New", tuple(capacity), tuple(tuple(size) for size in sizes))


def make_instance(published: Published) -> Instance:
    sizes = np.array(published.sizes, np.int64).reshape(-1, len(published.capacity))
    return Instance(sizes, np.array(published.capacity, np.int64))


def make_budget(seconds: float = 60.0) -> Budget:
    """Real time, without what compiling takes; most packings end long before."""
    warm_up()
    return Budget(seconds, time.monotonic)
