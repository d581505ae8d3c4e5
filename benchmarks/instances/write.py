"""Writes an instance as the two CSV files of the openb trace, under their names. Called by `__main__`, `placement`."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterable
from pathlib import Path

from benchmarks.instances.draw import NODE_COLUMNS, POD_COLUMNS, Row, draw_nodes, draw_pods
from benchmarks.instances.mixes import Mix

NODES_FILE = "openb_node_list_gpu_node.csv"
PODS_FILE = "openb_pod_list_default.csv"


def write_instance(directory: Path, mix: Mix, *, nodes: int, pods: int, seed: int) -> tuple[Path, Path]:
    """Draw a cluster and a pod list; the same arguments write the same bytes.

    Raises:
        OSError: the directory cannot be written.
    """
    generator = random.Random(seed)  # noqa: S311  # a reproducible draw, nothing secret
    directory.mkdir(parents=True, exist_ok=True)
    return (
        write_table(directory / NODES_FILE, NODE_COLUMNS, draw_nodes(mix, nodes, generator)),
        write_table(directory / PODS_FILE, POD_COLUMNS, draw_pods(mix, pods, generator)),
    )


def write_table(path: Path, columns: tuple[str, ...], rows: Iterable[Row]) -> Path:
    """Write a CSV file whole or not at all."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(rows)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text.getvalue(), encoding="utf-8")
    return partial.replace(path)
