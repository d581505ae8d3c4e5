"""A binary heap of node classes in three arrays, for compiled code: best key first, older class among equals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.compiled import compiled


class Heap(NamedTuple):
    """Rows of (key, class id, birth of the class); which rows are in use is the caller's to remember."""

    key: NDArray[np.float64]
    number: NDArray[np.int32]
    birth: NDArray[np.int64]


def empty_heap(room: int) -> Heap:
    """A heap with room for that many entries."""
    return Heap(np.zeros(room), np.zeros(room, np.int32), np.zeros(room, np.int64))


@compiled
def precedes(heap: Heap, one: int, other: int) -> bool:
    """Order of two entries."""
    if heap.key[one] != heap.key[other]:
        return bool(heap.key[one] > heap.key[other])
    return bool(heap.birth[one] < heap.birth[other])


@compiled
def swap(heap: Heap, one: int, other: int) -> None:
    """Exchange two entries."""
    heap.key[one], heap.key[other] = heap.key[other], heap.key[one]
    heap.number[one], heap.number[other] = heap.number[other], heap.number[one]
    heap.birth[one], heap.birth[other] = heap.birth[other], heap.birth[one]


@compiled
def push(heap: Heap, size: int, key: float, number: int, birth: int) -> None:
    """Add an entry to a heap of `size` entries; the arrays must have room."""
    heap.key[size], heap.number[size], heap.birth[size] = key, number, birth
    child = size
    while child > 0 and precedes(heap, child, (child - 1) // 2):
        swap(heap, child, (child - 1) // 2)
        child = (child - 1) // 2


@compiled
def drop(heap: Heap, size: int) -> None:
    """Drop the best of `size` entries."""
    swap(heap, 0, size - 1)
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size - 1:
            return
        if child + 1 < size - 1 and precedes(heap, child + 1, child):
            child += 1
        if not precedes(heap, child, parent):
            return
        swap(heap, child, parent)
        parent = child
