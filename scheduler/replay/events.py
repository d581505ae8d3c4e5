"""The event file of a replay: one JSON object a line, enough to re-verify every decision without our code.

A run starts with a `run` line, then what the cluster and its rules are (`node`, `tenant`, `runtime_class`), then who
stands there already (`standing`), then a `placed` or `refused` line per decision. The file appears under its name only
when every line in it is whole; a run that was interrupted leaves the decisions that were made.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import msgspec

from scheduler.model import Decision, Node, Placed, Pod
from scheduler.outputs import partial_of
from scheduler.placement.demand import Demand
from scheduler.placement.state import ClusterState
from scheduler.placement.tenancy import Tenancy
from scheduler.replay.lines import (
    NodeLine,
    PlacedLine,
    RefusedLine,
    RunLine,
    RuntimeClassLine,
    StandingLine,
    TenantLine,
)
from tenants.model import TenantSet


class EventFile:
    """Writes the events of one or more runs; use as a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = partial_of(path)
        self._file = self._partial.open("wb")
        self._encoder = msgspec.json.Encoder()
        self._sequence = 0

    def __enter__(self) -> EventFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink()

    def begin(
        self,
        policy: str,
        seed: int,
        load: float | None,
        nodes: Iterable[Node],
        tenancy: Tenancy,
        tenants: TenantSet,
    ) -> None:
        """Start a run."""
        self._sequence = 0
        self._write(RunLine(1, policy, seed, load))
        for tenant in tenants.tenants.values():
            wish = tenant.isolation
            self._write(
                TenantLine(
                    tenant.name,
                    tenant.trust,
                    wish.runtime,
                    wish.co_residency,
                    sorted(wish.never_with),
                    wish.blast_radius,
                )
            )
        for found in tenants.runtime_classes.values():
            overhead = {"cpu_milli": found.overhead_cpu_milli, "memory_mib": found.overhead_memory_mib}
            self._write(RuntimeClassLine(found.name, found.handler, overhead))
        for node in nodes:
            self._write(node_line(node, tenancy))

    def standing(self, state: ClusterState) -> None:
        """Write the pods that stand before the first decision."""
        for uid, found in state.pods.items():
            demand, node = state.demands[found.demand], state.nodes[found.node]
            presence = demand.admission.presence
            sandboxed = presence.sandboxed if presence else None
            name, overhead = node.name if node else "", dict(demand.admission.overhead)
            self._write(StandingLine(uid, demand.shape, name, found.devices, sandboxed, overhead))

    def decision(self, pod: Pod, demand: Demand, decision: Decision) -> None:
        """Write one decision."""
        presence = demand.admission.presence
        sandboxed = presence.sandboxed if presence else None
        overhead = dict(demand.admission.overhead)
        if isinstance(decision, Placed):
            line: PlacedLine | RefusedLine = PlacedLine(
                self._sequence, pod.uid, pod.shape, decision.node, decision.devices, sandboxed, overhead
            )
        else:
            line = RefusedLine(
                self._sequence,
                pod.uid,
                pod.shape,
                decision.reason,
                decision.blockers,
                decision.detail,
                sandboxed,
                overhead,
            )
        self._write(line)
        self._sequence += 1

    def _write(self, line: msgspec.Struct) -> None:
        self._file.write(self._encoder.encode(line))
        self._file.write(b"\n")


def node_line(node: Node, tenancy: Tenancy) -> NodeLine:
    """A node as the event file states it."""
    rules = tenancy.node_rules(node)
    return NodeLine(
        node.name,
        dict(node.allocatable),
        node.gpus,
        node.gpu_model,
        dict(node.labels),
        [msgspec.to_builtins(taint) for taint in node.taints],
        node.unschedulable,
        node.sandboxes and rules.sandboxes,
        rules.blast_radius,
    )
