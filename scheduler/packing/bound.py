"""The bound that costs nothing: what all items need together in the scarcest dimension."""

from __future__ import annotations

from scheduler.packing.instance import Instance


def volume_bound(instance: Instance) -> int:
    """Bins that the total size needs, in exact integers: the largest ceil(total / capacity) over dimensions."""
    if instance.items == 0:
        return 0
    totals = instance.sizes.sum(axis=0)
    return max(
        1,
        *(-(-int(total) // int(room)) for total, room in zip(totals, instance.capacity, strict=True) if room),
    )
