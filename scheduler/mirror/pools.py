"""Which pool a pod draws its quota from, and what the nodes of each pool offer. Pure.

Placement says cpu_milli and memory_mib, the ledger says cpu and memory; the units are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from scheduler.model import CPU, EPHEMERAL, GPU_MILLI, MEMORY, Node, Shape
from tenants.model import DEFAULT_POOL, Pool
from tenants.pods import pool_of

GPU: Final = "nvidia.com/gpu"
LEDGER_NAMES: Final = {CPU: "cpu", MEMORY: "memory", EPHEMERAL: "ephemeral-storage"}


def pool_of_node(node: Node, pools: Mapping[str, Pool]) -> str:
    """The pool whose labels the node carries."""
    return pool_of(dict(node.labels), pools)


def pool_of_shape(shape: Shape, pools: Mapping[str, Pool]) -> str:
    """The pool that a pod asks for before it has a node: by its node selector, else the default one."""
    return pool_of(dict(shape.node_selector), pools)


def offered(nodes: Iterable[Node], pools: Mapping[str, Pool]) -> dict[tuple[str, str], int]:
    """(pool, resource) -> the sum over its nodes; a pool that has no node offers nothing of cpu and memory."""
    total: Counter[tuple[str, str]] = Counter()
    for pool in {DEFAULT_POOL, *pools}:
        total.update({(pool, "cpu"): 0, (pool, "memory"): 0})
    for node in nodes:
        pool = pool_of_node(node, pools)
        for name, amount in node.allocatable:
            total[pool, LEDGER_NAMES.get(name, name)] += amount
        if node.gpus:
            total[pool, GPU] += node.gpus * GPU_MILLI
    return dict(total)
