"""Packs items into as few equal bins as possible, in any number of dimensions.

Called by the packing benchmark, and by plans that ask how few nodes could hold what runs.
"""

from scheduler.packing.instance import Budget, Instance, Packing
from scheduler.packing.search import pack
from scheduler.packing.warm_up import warm_up

__all__ = ["Budget", "Instance", "Packing", "pack", "warm_up"]
