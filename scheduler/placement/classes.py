"""Groups nodes of equal state into classes, so that what is true of one is computed once for all.

A class is a row of integers: profile, occupancy, identity, free per resource, free milli per GPU ascending.
Every change of a node's class is written to a journal; a ranking that wants to know what is new reads the
journal from where it stopped. Called by `ClusterState` only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]

GONE = -1
STANDING = 3
"""Columns of a row before the free amounts."""
JOURNAL_SLACK = 1 << 20


class ClassTable(NamedTuple):
    """The classes as arrays for compiled code; row = class id. A row with 0 nodes is free for reuse."""

    nodes: Int64
    birth: Int64
    profile: Int64
    occupancy: Int64
    identity: Int64
    free: NDArray[np.int64]
    gpu: NDArray[np.int64]


class Journal(NamedTuple):
    """Node moves in order: which node, and the class it entered (GONE when it left the cluster)."""

    node: Int32
    entered: Int32


class NodeClasses:
    """The class of every node; `move` is the only way to change it."""

    def __init__(self, resources: int, devices: int) -> None:
        self._resources = resources
        self._devices = devices
        self._ids: dict[bytes, int] = {}
        self._keys: list[bytes] = []
        self._reusable: list[int] = []
        self.members: list[list[int]] = []
        self.of_node: Int32 = np.full(64, GONE, dtype=np.int32)
        self.table = self._empty_table(64)
        self.journal = Journal(np.zeros(256, dtype=np.int32), np.zeros(256, dtype=np.int32))
        self.journal_start = 0
        self.journal_end = 0

    def _empty_table(self, rows: int) -> ClassTable:
        one, wide = (rows,), (rows, self._resources)
        return ClassTable(
            np.zeros(one, np.int64),
            np.zeros(one, np.int64),
            np.zeros(one, np.int64),
            np.zeros(one, np.int64),
            np.zeros(one, np.int64),
            np.zeros(wide, np.int64),
            np.zeros((rows, self._devices), np.int64),
        )

    @property
    def high(self) -> int:
        """One more than the highest class id in use."""
        return len(self.members)

    def __len__(self) -> int:
        """How many classes have at least one node."""
        return len(self._ids)

    def move(self, node: int, row: Int64) -> None:
        """Put a node into the class of `row` = [profile, occupancy, identity, free…, gpu ascending…]."""
        self._leave(node)
        key = row.tobytes()
        entered = self._ids.get(key)
        if entered is None:
            entered = self._create(key, row)
        self.members[entered].append(node)
        self.table.nodes[entered] += 1
        self._record(node, entered)

    def remove(self, node: int) -> None:
        """Take a node out of the cluster."""
        self._leave(node)
        self._record(node, GONE)

    def _leave(self, node: int) -> None:
        if node >= len(self.of_node):
            grown = np.full(max(node + 1, 2 * len(self.of_node)), GONE, dtype=np.int32)
            grown[: len(self.of_node)] = self.of_node
            self.of_node = grown
        left = int(self.of_node[node])
        if left == GONE:
            return
        members = self.members[left]
        if members[-1] == node:
            members.pop()
        else:
            members.remove(node)
        self.table.nodes[left] -= 1
        if not members:
            del self._ids[self._keys[left]]
            self._reusable.append(left)

    def _create(self, key: bytes, row: Int64) -> int:
        if self._reusable:
            created = self._reusable.pop()
            self._keys[created] = key
        else:
            created = len(self.members)
            self.members.append([])
            self._keys.append(key)
            if created >= len(self.table.nodes):
                self._grow_table()
        self._ids[key] = created
        table = self.table
        table.birth[created] = self.journal_end
        table.profile[created] = row[0]
        table.occupancy[created] = row[1]
        table.identity[created] = row[2]
        table.free[created] = row[STANDING : STANDING + self._resources]
        table.gpu[created] = row[STANDING + self._resources :]
        return created

    def _grow_table(self) -> None:
        rows = len(self.table.nodes)
        grown = self._empty_table(2 * rows)
        for old, new in zip(self.table, grown, strict=True):
            new[:rows] = old
        self.table = grown

    def _record(self, node: int, entered: int) -> None:
        self.of_node[node] = entered
        offset = self.journal_end - self.journal_start
        if offset == len(self.journal.node):
            offset = self._make_journal_room(offset)
        self.journal.node[offset] = node
        self.journal.entered[offset] = entered
        self.journal_end += 1

    def _make_journal_room(self, used: int) -> int:
        """Grow the journal, or drop its older half once a reader would do better to start over."""
        if used > 8 * len(self.of_node) + JOURNAL_SLACK:
            kept = used // 2
            self.journal_start += used - kept
            for column in self.journal:
                column[:kept] = column[used - kept : used]
            return kept
        self.journal = Journal(*(np.concatenate([column, np.zeros_like(column)]) for column in self.journal))
        return used
