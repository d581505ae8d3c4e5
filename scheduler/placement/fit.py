"""Whether free room holds what a pod asks, and if not, which resource is the first to fail.

Called by the ranking for every (node class, shape) pair, and by the guard for a single node: one implementation.
Arrays: `free` int64 [resources] in the order of the resource axis, `gpu` int64 [devices] free milli per device,
ascending, zeros in front where a node has fewer devices than the widest one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scheduler.compiled import compiled
from scheduler.model import BASE_RESOURCES, GPU_MILLI, Reason

Int64 = NDArray[np.int64]

FITS = int(Reason.FITS)
FIRST_RESOURCE = int(Reason.CPU)
EXTENDED = int(Reason.EXTENDED)
BASE = len(BASE_RESOURCES)
GPU_DEVICES = int(Reason.GPU_DEVICES)
GPU_FRACTION = int(Reason.GPU_FRACTION)


@compiled
def capacity_reason(free: Int64, gpu: Int64, request: Int64, count: int, milli: int) -> int:
    """Return `Reason.FITS` or the first resource that is short, as an integer `Reason`.

    A GPU request of `count` devices fits when the `count` fullest-free devices have `milli` each; devices are
    sorted, so only the smallest of them is looked at.
    """
    for column in range(len(request)):
        if request[column] > free[column]:
            return FIRST_RESOURCE + column if column < BASE else EXTENDED
    if count > 0 and (count > len(gpu) or gpu[len(gpu) - count] < milli):
        return GPU_DEVICES if milli == GPU_MILLI else GPU_FRACTION
    return FITS


@compiled
def is_outcome(gpu: Int64, count: int, milli: int, first: int) -> bool:
    """Tell whether taking devices `first .. first+count-1` of the sorted row is a distinct way to serve a request.

    A pod without GPUs has the single outcome 0. Equal devices are one outcome (the first of them). Several
    devices are taken as neighbours in sorted order, whole ones as the last of the row.
    """
    if count == 0:
        return first == 0
    if first + count > len(gpu) or gpu[first] < milli:
        return False
    if milli == GPU_MILLI:
        return first == len(gpu) - count
    return first == 0 or gpu[first] != gpu[first - 1]


@compiled
def take_devices(gpu: Int64, count: int, milli: int, first: int, out: Int64) -> None:
    """Write to `out` the sorted row `gpu` after `milli` is taken from devices `first .. first+count-1`."""
    for device in range(len(gpu)):
        out[device] = gpu[device]
    for device in range(first, first + count):
        value = out[device] - milli
        position = device
        while position > 0 and out[position - 1] > value:
            out[position] = out[position - 1]
            position -= 1
        out[position] = value


@compiled
def asked_and_most(
    free: Int64, gpu: Int64, request: Int64, count: int, milli: int, reason: int
) -> tuple[int, int]:
    """Return what was asked and what this node has of the resource behind a capacity `reason`.

    GPU_DEVICES counts devices; GPU_FRACTION compares free milli of the device that came nearest.
    """
    if reason == GPU_DEVICES:
        usable = 0
        for device in range(len(gpu)):
            usable += gpu[device] >= milli
        return count, usable
    if reason == GPU_FRACTION:
        return milli, gpu[len(gpu) - count] if count <= len(gpu) else 0
    if reason == EXTENDED:
        for column in range(BASE, len(request)):
            if request[column] > free[column]:
                return request[column], free[column]
    column = reason - FIRST_RESOURCE
    return request[column], free[column]
