"""The cluster as the event file tells it: what is free, who stands where, and what rules each node out for an ask.

Arrays hold one row per node. An `Ask` keeps one bit mask per node and brings it up to date only for nodes that have
changed since its last refusal, so a refusal costs what changed, not the whole cluster.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.checker.findings import BIT, Kind
from benchmarks.checker.lines import Node, RuntimeClass, Shape, Spread, Tenant
from benchmarks.checker.rules import Presence, admit, isolation_bits, standing_bits

Int64 = NDArray[np.int64]
Masks = NDArray[np.uint32]

BASE = {
    "cpu_milli": Kind.CPU,
    "memory_mib": Kind.MEMORY,
    "ephemeral_mib": Kind.EPHEMERAL,
    "pods": Kind.POD_SLOTS,
}
BOUNDLESS = 1 << 60
REPELS = np.uint32(BIT[Kind.UNSCHEDULABLE] | BIT[Kind.TAINT])
GPU_MILLI = 1000
Occupancy = tuple[frozenset[Presence], int | None]


class Ask:
    """A shape and the runtime that it ran on: the request per resource, and what rules each node out."""

    def __init__(self, shape: Shape, cluster: Cluster, *, sandboxed: bool) -> None:
        self.shape = shape
        self.admission = admit(shape, cluster.tenants, cluster.classes)
        self.presence = Presence(shape.tenant, sandboxed) if self.admission.presence else None
        self.request = np.zeros(len(cluster.resources), np.int64)
        self.unknown: list[str] = []
        self._add({"pods": 1}, cluster)
        self._add(dict(shape.requests), cluster)
        self._add(self.admission.overhead, cluster)
        self.count = shape.gpu.count if shape.gpu else 0
        self.milli = shape.gpu.milli if shape.gpu else 0
        self.gpu_kind = Kind.WHOLE_GPUS if self.milli == GPU_MILLI else Kind.GPU_FRACTION
        self.standing = np.array(
            [standing_bits(node, shape, sandboxed=sandboxed) for node in cluster.kinds], np.uint32
        )
        self.isolation: Masks = np.zeros(0, np.uint32)
        self.masks: Masks = np.zeros(0, np.uint32)
        self.up_to = -1

    def _add(self, amounts: Mapping[str, int], cluster: Cluster) -> None:
        for name, amount in amounts.items():
            if name in cluster.resources:
                self.request[cluster.resources[name]] += amount
            elif amount:
                self.unknown.append(name)


class Cluster:
    """One run's nodes and tenants, and everything placed so far."""

    def __init__(
        self, nodes: Sequence[Node], tenants: Mapping[str, Tenant], classes: Mapping[str, RuntimeClass]
    ) -> None:
        self.nodes, self.tenants, self.classes = nodes, tenants, classes
        self.number_of = {node.name: number for number, node in enumerate(nodes)}
        extended = sorted({name for node in nodes for name in node.allocatable} - BASE.keys())
        self.resources = {name: column for column, name in enumerate((*BASE, *extended))}
        self.kind_of_column = [*BASE.values(), *(Kind.EXTENDED for _ in extended)]
        self.bits = np.array([BIT[kind] for kind in self.kind_of_column], np.uint32)
        self.free = np.array([self._capacity(node) for node in nodes], np.int64).reshape(len(nodes), -1)
        widest = max((node.gpus for node in nodes), default=0)
        self.gpu = np.full((len(nodes), widest), -1, np.int64)
        for number, node in enumerate(nodes):
            self.gpu[number, : node.gpus] = GPU_MILLI
        self.kinds, self.kind_of = group(nodes)
        self.residents: list[Counter[Presence]] = [Counter() for _ in nodes]
        self.occupancies: list[Occupancy] = []
        self._occupancy_numbers: dict[Occupancy, int] = {}
        self.occupancy_of = np.array(
            [self._occupancy_number(number) for number in range(len(nodes))], np.int64
        )
        self.spread: dict[tuple[str, str], Counter[str]] = {}
        self.changed = array("i")
        self._asks: dict[tuple[bytes, bool], Ask] = {}

    def _capacity(self, node: Node) -> list[int]:
        return [node.allocatable.get(name, BOUNDLESS if name in BASE else 0) for name in self.resources]

    def ask(self, raw: msgspec.Raw, *, sandboxed: bool) -> Ask:
        """The ask of a shape on a runtime; equal text is one ask."""
        key = bytes(raw), sandboxed
        found = self._asks.get(key)
        if found is None:
            shape = msgspec.json.decode(raw, type=Shape)
            found = self._asks[key] = Ask(shape, self, sandboxed=sandboxed)
        return found

    def _occupancy_number(self, node: int) -> int:
        occupancy = (frozenset(self.residents[node]), self.nodes[node].blast_radius)
        known = self._occupancy_numbers.setdefault(occupancy, len(self.occupancies))
        if known == len(self.occupancies):
            self.occupancies.append(occupancy)
        return known

    def take(self, ask: Ask, node: int, devices: Sequence[int]) -> None:
        """Put a pod on a node, rightly or wrongly."""
        row = self.free[node]
        row -= ask.request
        for device in devices:
            self.gpu[node, device] -= ask.milli
        presence = ask.presence
        if presence:
            residents = self.residents[node]
            residents[presence] += 1
            if residents[presence] == 1:
                self.occupancy_of[node] = self._occupancy_number(node)
        for spread in ask.shape.spread:
            counts = self.spread.setdefault((spread.group, spread.topology_key), Counter())
            counts[self.nodes[node].labels.get(spread.topology_key, "")] += 1
        self.changed.append(node)

    def isolation(self, ask: Ask) -> Masks:
        """What the tenants of each occupancy say to the ask's; grows as occupancies appear."""
        known, presence = len(ask.isolation), ask.presence
        if known < len(self.occupancies):
            new = [
                isolation_bits(presence, residents, limit, self.tenants) if presence else 0
                for residents, limit in self.occupancies[known:]
            ]
            ask.isolation = np.concatenate([ask.isolation, np.array(new, np.uint32)])
        return ask.isolation

    def mask_rows(self, ask: Ask, rows: Int64) -> Masks:
        """All that rules these nodes out, one bit per reason; topology spread apart."""
        masks = ask.standing[self.kind_of[rows]] | self.isolation(ask)[self.occupancy_of[rows]]
        for column in np.nonzero(ask.request)[0]:
            masks |= self.bits[column] * (self.free[rows, column] < ask.request[column])
        if ask.unknown:
            masks |= np.uint32(BIT[Kind.EXTENDED])
        if ask.count:
            usable = (self.gpu[rows] >= ask.milli).sum(axis=1)
            masks |= np.uint32(BIT[ask.gpu_kind]) * (usable < ask.count)
        return masks

    def masks(self, ask: Ask) -> Masks:
        """The same for all nodes, brought up to date."""
        if ask.up_to < 0:
            ask.masks = self.mask_rows(ask, np.arange(len(self.nodes)))
        elif ask.up_to < len(self.changed):
            rows = np.unique(np.array(self.changed[ask.up_to :], np.int64))
            ask.masks[rows] = self.mask_rows(ask, rows)
        ask.up_to = len(self.changed)
        return ask.masks

    def excess(self, ask: Ask, spread: Spread, node: int) -> int:
        """How far one more pod here would exceed the skew of its domain."""
        counts = self.spread.get((spread.group, spread.topology_key), Counter[str]())
        name = self.nodes[node].labels.get(spread.topology_key, "")
        domains = self.domains(ask, spread.topology_key)
        if not name:
            return BOUNDLESS
        least = min((counts[domain] for domain in domains), default=0)
        return counts[name] + 1 - least - spread.max_skew

    def domains(self, ask: Ask, topology_key: str) -> set[str]:
        """The values of a topology label on nodes that the ask selects; taints do not take a node out."""
        admitted = {int(kind) for kind in np.nonzero(ask.standing & ~REPELS == 0)[0]}
        names = {self.kinds[kind].labels.get(topology_key, "") for kind in admitted}
        return names - {""}


def group(nodes: Sequence[Node]) -> tuple[list[Node], Int64]:
    """One node of each kind (equal labels, taints, model, abilities), and the kind of every node."""
    kinds: list[Node] = []
    numbers: dict[bytes, int] = {}
    kind_of = np.zeros(len(nodes), np.int64)
    for number, node in enumerate(nodes):
        facts = (node.labels, node.taints, node.gpu_model, node.unschedulable, node.sandboxes)
        known = numbers.setdefault(msgspec.json.encode(facts, order="sorted"), len(kinds))
        if known == len(kinds):
            kinds.append(node)
        kind_of[number] = known
    return kinds, kind_of
