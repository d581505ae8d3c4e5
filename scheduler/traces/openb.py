"""Reads the CSV files of the openb trace (Alibaba cluster-trace-gpu-v2023): nodes and pods.

Every row is checked; all problems of a file are reported together, each with its line. Called by `files`.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator
from pathlib import Path

from scheduler.errors import BadInput, Problem
from scheduler.model import CPU, GPU_MILLI, MEMORY, Gpu, Node, Shape, amounts
from scheduler.traces.assign import Assignment
from scheduler.traces.workload import TracePod

NODE_COLUMNS = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
POD_NEEDED = ("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli")
POD_COLUMNS = (
    *POD_NEEDED,
    "gpu_spec",
    "qos",
    "pod_phase",
    "creation_time",
    "deletion_time",
    "scheduled_time",
)

LARGEST = 1 << 40
"""No machine has more of anything; sums over a million pods stay below 2^63."""
MOST_DEVICES = 64
PROBLEMS_SHOWN = 50


class Table:
    """The rows of a CSV file with known columns; collects problems instead of stopping at the first."""

    def __init__(self, path: Path, needed: tuple[str, ...], known: tuple[str, ...]) -> None:
        self.path = str(path)
        self.needed = needed
        self.known = known
        self.problems: list[Problem] = []
        self.line = 1

    def rows(self, lines: Iterator[str]) -> Iterator[dict[str, str]]:
        """Yield each row by column name; a broken row is noted and left out."""
        reader = csv.reader(lines)
        header = next(reader, None)
        if not header:
            self.note("the file is empty", f"the first line must name the columns {','.join(self.needed)}")
            return
        if not self._header_fits(header):
            return
        for row in reader:
            self.line = reader.line_num
            if len(self.problems) >= PROBLEMS_SHOWN:
                self.note("too many problems, the rest of the file was not read")
                return
            if len(row) != len(header):
                self.note(f"the row has {len(row)} fields, the header has {len(header)}")
            else:
                yield dict(zip(header, row, strict=True))

    def _header_fits(self, header: list[str]) -> bool:
        for name in header:
            if name not in self.known:
                near = difflib.get_close_matches(name, self.known, n=1, cutoff=0.4)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(self.known)}"
                self.note(f"unknown column {name!r}", hint)
        missing = [name for name in self.needed if name not in header]
        if missing:
            self.note(f"missing column {', '.join(missing)}")
        if len(set(header)) < len(header):
            self.note("a column is named twice")
        return not self.problems

    def note(self, why: str, hint: str = "") -> None:
        """Remember a problem at the current line."""
        self.problems.append(Problem(self.path, self.line, why, hint))

    def number(self, row: dict[str, str], column: str) -> int:
        """A column as an amount; what is none is noted and counts as 0."""
        try:
            value = int(row[column])
        except ValueError:
            self.note(f"{column} is {row[column]!r}, not a whole number")
            return 0
        if value < 0:
            self.note(f"{column} is {value}, an amount cannot be negative")
            return 0
        if value > LARGEST:
            self.note(f"{column} is {value}, larger than any machine", f"the limit is 2^40 = {LARGEST}")
            return 0
        return value

    def finish(self, found: int, kind: str) -> None:
        """Raise what was noted; a table without rows is a problem too."""
        if not found and not self.problems:
            self.note(f"the file holds no {kind}")
        if self.problems:
            raise BadInput(self.problems)


def read_nodes(path: Path) -> list[Node]:
    """Read a node list.

    Raises:
        BadInput: with every problem found.
    """
    table = Table(path, NODE_COLUMNS[:4], NODE_COLUMNS)
    nodes: dict[str, Node] = {}
    with path.open(newline="", encoding="utf-8", errors="replace") as lines:
        for row in table.rows(lines):
            node = _node(table, row)
            if node.name in nodes:
                table.note(f"node {node.name!r} appears twice")
            nodes[node.name] = node
    table.finish(len(nodes), "nodes")
    return list(nodes.values())


def _node(table: Table, row: dict[str, str]) -> Node:
    gpus = table.number(row, "gpu")
    if gpus > MOST_DEVICES:
        table.note(f"gpu is {gpus}, more than a node can hold", f"the limit is {MOST_DEVICES}")
        gpus = 0
    if not row["sn"]:
        table.note("sn is empty, a node needs a name")
    capacity = amounts({CPU: table.number(row, "cpu_milli"), MEMORY: table.number(row, "memory_mib")})
    model = row.get("model", "")
    labels = (("bulkhead.dev/gpu-model", model),) if model else ()
    return Node(name=row["sn"], allocatable=capacity, gpus=gpus, gpu_model=model, labels=labels)


def read_pods(path: Path, assignment: Assignment) -> list[TracePod]:
    """Read a pod list; each pod's tenant comes from the rules.

    Raises:
        BadInput: with every problem found.
    """
    table = Table(path, POD_NEEDED, POD_COLUMNS)
    shapes: dict[Shape, Shape] = {}
    pods: dict[str, TracePod] = {}
    with path.open(newline="", encoding="utf-8", errors="replace") as lines:
        for row in table.rows(lines):
            shape = _shape(table, row, assignment)
            if row["name"] in pods or not row["name"]:
                table.note(f"pod {row['name']!r} appears twice" if row["name"] else "name is empty")
            pods[row["name"]] = TracePod(row["name"], shapes.setdefault(shape, shape), table.line)
    table.finish(len(pods), "pods")
    return list(pods.values())


def _shape(table: Table, row: dict[str, str], assignment: Assignment) -> Shape:
    count, milli = table.number(row, "num_gpu"), table.number(row, "gpu_milli")
    if milli > GPU_MILLI or (count and not milli):
        table.note(f"gpu_milli is {milli}, a device has 1 to {GPU_MILLI}")
    if count > 1 and 0 < milli < GPU_MILLI:
        table.note(f"{count} GPUs of {milli} milli: more than one device can only be asked whole")
    models = tuple(sorted(filter(None, row.get("gpu_spec", "").split("|"))))
    tenant = assignment.tenant_of(row)
    if assignment.rules and not tenant:
        table.note("no rule assigns this pod to a tenant", "add a last rule `*: tenant`")
    return Shape(
        requests=amounts({CPU: table.number(row, "cpu_milli"), MEMORY: table.number(row, "memory_mib")}),
        gpu=Gpu(count, milli, models) if count else None,
        tenant=tenant,
    )
