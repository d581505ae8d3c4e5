"""Compiles the packer before its time is measured: a first run takes some seconds, later ones read the cache."""

from __future__ import annotations

import functools

import numpy as np

from scheduler.packing.instance import Budget, Instance
from scheduler.packing.search import pack


@functools.cache
def warm_up() -> None:
    """Pack a few items that need every step but the neighbourhoods, and a few that leave no room to waste."""
    sizes = np.random.default_rng(0).integers(1, 60, (30, 3))
    for instance in (
        Instance(sizes, np.array([100, 100, 100])),
        Instance(np.array([[2], [2], [3], [3]]), np.array([5])),
    ):
        pack(instance, Budget(1.0, clock=float), 0)  # the clock stands still
