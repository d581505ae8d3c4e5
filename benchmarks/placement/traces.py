"""Which traces there are: the openb lists found below $BULKHEAD_DATA, and drawn ones that nothing was tuned on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.instances.mixes import MIXES
from benchmarks.instances.write import NODES_FILE, write_instance
from scheduler.traces.assign import Assignment
from scheduler.traces.files import read_cluster
from scheduler.traces.workload import Cluster, scarce_resource
from tenants.model import TenantSet

PREFIX = "openb_pod_list_"
NODES = {"no-gpus": 600}
"""Nodes of a drawn trace where it is not openb's 1213."""
PODS = {
    "no-gpus": 14000,
    "whole-gpus": 2600,
    "small-fractions": 34000,
    "cpu-heavy": 8152,
    "cpu-starved": 8152,
}
"""About what fills the drawn clusters once."""
DRAWN_SEED = 2026


class Trace(msgspec.Struct, frozen=True):
    """A trace by name, read."""

    name: str
    synthetic: bool
    cluster: Cluster

    @property
    def resource(self) -> str:
        """The resource that load and allocation are measured on."""
        return scarce_resource(self.cluster.nodes, self.cluster.pods)


def openb_traces(data: Path) -> list[Trace]:
    """Every pod list below a directory, with the GPU node list beside it."""
    found = []
    for pods in sorted(data.rglob(f"{PREFIX}*.csv")):
        nodes = pods.with_name(NODES_FILE)
        if nodes.is_file():
            cluster = read_cluster(nodes, pods, Assignment(), TenantSet())
            found.append(Trace(pods.stem.removeprefix(PREFIX), synthetic=False, cluster=cluster))
    return sorted(found, key=lambda trace: (trace.name != "default", trace.name))


def drawn_traces(directory: Path, names: Sequence[str]) -> list[Trace]:
    """Draw one trace of each mix."""
    found = []
    for name in names:
        size = {"nodes": NODES.get(name, 1213), "pods": PODS.get(name, 8152)}
        paths = write_instance(directory / name, MIXES[name], **size, seed=DRAWN_SEED)
        cluster = read_cluster(*paths, Assignment(), TenantSet())
        found.append(Trace(name, synthetic=True, cluster=cluster))
    return found
