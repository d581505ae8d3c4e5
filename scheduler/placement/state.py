"""The cluster as integer arrays, kept current by events: what is free on each node and who stands there.

`apply` is the only way to change it; `snapshot` is a private copy for what-ifs; `verify` recomputes everything from
the placed pods and names every difference. One owner; no I/O, no clock.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.compiled import compiled
from scheduler.errors import StateConflict, StateCorrupt
from scheduler.model import BASE_RESOURCES, GPU_MILLI, Node, Placed, Shape
from scheduler.placement.arrivals import LAST_MODEL
from scheduler.placement.classes import GONE, STANDING, NodeClasses
from scheduler.placement.constraints import Profile
from scheduler.placement.coresidency import Coresidency
from scheduler.placement.demand import UNKNOWN, Demand
from scheduler.placement.events import Event, NodeJoined, NodeLeft, PodLeft, PodPlaced
from scheduler.placement.tenancy import Occupancy, Presence, SingleTenant, Tenancy

Int64 = NDArray[np.int64]

UNSTATED = 1 << 50
"""Capacity of a base resource that a node does not state: larger than any request, small enough to sum."""


class Standing(msgspec.Struct, frozen=True):
    """Where a placed pod stands: node number, demand number, GPU device numbers."""

    node: int
    demand: int
    devices: tuple[int, ...]


class Shut(NamedTuple):
    """What was free on a node that is shut."""

    node: int
    free: Int64
    gpu_free: Int64


class ClusterState:
    """Nodes, their free room, their classes, and the pods placed on them.

    Args:
        nodes: the cluster at the start; the widest of them fixes how many GPU devices a row has.
        tenancy: the tenant rules; without it every pod is admitted as it asks.
        identify_nodes: make every node a class of its own (for policies that rank by node, not by state).
    """

    def __init__(
        self, nodes: list[Node], tenancy: Tenancy | None = None, *, identify_nodes: bool = False
    ) -> None:
        self.tenancy: Tenancy = tenancy or SingleTenant()
        self.columns = resource_columns(nodes)
        self.devices = max((node.gpus for node in nodes), default=0)
        self.nodes: list[Node | None] = []
        self.number_of: dict[str, int] = {}
        self.profiles: list[Profile] = []
        self.model_numbers: dict[str, int] = {}
        self.occupancies: list[Occupancy] = []
        self.demands: list[Demand] = []
        self.pods: dict[str, Standing] = {}
        self.releases = 0  # how often room was gained: until it changes, a full cluster only gets fuller
        self.spread: dict[tuple[str, str], Counter[str]] = {}
        self.profile_of: Int64 = np.zeros(len(nodes), np.int64)
        self.occupancy_of: Int64 = np.zeros(len(nodes), np.int64)
        self.free: Int64 = np.zeros((len(nodes), len(self.columns)), np.int64)
        self.gpu_free: Int64 = np.zeros((len(nodes), self.devices), np.int64)
        self.classes = NodeClasses(len(self.columns), self.devices)
        self._identify_nodes = identify_nodes
        self._late: set[int] | None = None  # nodes whose class is worked out later
        self._label_keys: frozenset[str] = frozenset()
        self._profile_numbers: dict[Profile, int] = {}
        self._occupancy_numbers: dict[Occupancy, int] = {}
        self._demand_numbers: dict[Shape, int] = {}
        self._coresidency: dict[Presence | None, Coresidency] = {}
        self._tenants_on: list[Counter[Presence]] = []
        self._pods_on: list[int] = []
        self._row: Int64 = np.zeros(STANDING + len(self.columns) + self.devices, np.int64)
        for node in nodes:
            self.apply(NodeJoined(node))

    # --- events ---------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Change the state by one event.

        Raises:
            StateConflict: the event cannot follow from this state; nothing was changed.
        """
        match event:
            case PodPlaced(shape=shape, placed=placed):
                self.place(self.demand(shape), placed)
            case PodLeft(uid=uid):
                self._release(uid)
            case NodeJoined(node=node):
                self._join(node)
            case NodeLeft(name=name):
                self._leave(name)

    def place(self, demand: Demand, placed: Placed) -> None:
        """Apply `PodPlaced` for a shape whose demand is already known (the hot path of `apply`)."""
        node = self.number_of.get(placed.node, GONE)
        if node == GONE or placed.pod in self.pods:
            why = (
                "is unknown" if node == GONE else f"cannot take pod {placed.pod}: it stands somewhere already"
            )
            raise StateConflict(f"node {placed.node} {why}")
        if any(not 0 <= device < self.devices for device in placed.devices):
            raise StateConflict(f"node {placed.node} has no devices {placed.devices} for pod {placed.pod}")
        standing = Standing(node, demand.number, placed.devices)
        self.pods[placed.pod] = standing
        self._shift(standing, demand, +1)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Many events in a row: each node moves to its class once, at the end. Nothing may be asked in between."""
        late, self._late = self._late, set()
        try:
            yield
        finally:
            moved, self._late = self._late, late
            for node in moved:
                if self.nodes[node] is not None:
                    self._reclass(node)

    def shut(self, name: str) -> Shut:
        """Take what is free on a node out of every decision, until `reopen`; between the two no event is applied to it.

        Raises:
            StateConflict: no such node.
        """
        number = self.number_of.get(name, GONE)
        if number == GONE:
            raise StateConflict(f"node {name} is unknown")
        shut = Shut(number, np.maximum(self.free[number], 0), np.maximum(self.gpu_free[number], 0))
        self.free[number] -= shut.free
        self.gpu_free[number] -= shut.gpu_free
        self._reclass(number)
        return shut

    def reopen(self, shut: Shut) -> None:
        """Give back what `shut` took."""
        self.free[shut.node] += shut.free
        self.gpu_free[shut.node] += shut.gpu_free
        self._reclass(shut.node)

    def fullest_devices(self, node: str, demand: Demand) -> tuple[int, ...]:
        """The devices of a node with most free, as many as a pod holds that stands there by another's decision."""
        if not demand.count:
            return ()
        number = self.number_of[node]
        by_free = self.gpu_free[number, : self.profiles[self.profile_of[number]].gpus].argsort(kind="stable")
        return tuple(sorted(by_free[len(by_free) - demand.count :].tolist()))

    def _release(self, uid: str) -> None:
        standing = self.pods.pop(uid, None)
        if standing is None:
            raise StateConflict(f"pod {uid} stands nowhere")
        self.releases += 1
        self._shift(standing, self.demands[standing.demand], -1)

    def _shift(self, standing: Standing, demand: Demand, sign: int) -> None:
        """Take (+1) or give back (-1) what a pod holds on its node, and move the node to its new class."""
        node = standing.node
        self._pods_on[node] += sign
        taken = self.free[node]
        taken -= sign * demand.request
        for device in standing.devices:
            self.gpu_free[node, device] -= sign * demand.milli
        if demand.admission.presence is not None:
            self._count_presence(node, demand.admission.presence, sign)
        if demand.shape.spread:
            self._count_spread(node, demand.shape, sign)
        self._reclass(node)

    def _count_presence(self, node: int, presence: Presence, sign: int) -> None:
        tenants = self._tenants_on[node]
        before = tenants[presence]
        tenants[presence] = before + sign
        if before + sign == 0:
            del tenants[presence]
        if before == 0 or before + sign == 0:
            limit = self.occupancies[self.occupancy_of[node]].limit
            self.occupancy_of[node] = self._occupancy_number(Occupancy(tuple(sorted(tenants)), limit))

    def _count_spread(self, node: int, shape: Shape, sign: int) -> None:
        standing = self.nodes[node]
        labels = dict(standing.labels) if standing else {}
        for spread in shape.spread:
            counts = self.spread.setdefault((spread.group, spread.topology_key), Counter())
            counts[labels.get(spread.topology_key, "")] += sign

    def _join(self, node: Node) -> None:
        if node.name in self.number_of:
            raise StateConflict(f"node {node.name} is part of the cluster already")
        if node.gpus > self.devices or any(name not in self.columns for name, _ in node.allocatable):
            raise StateConflict(f"node {node.name} has resources or devices that this state has no room for")
        number = len(self.nodes)
        self.releases += 1
        self.nodes.append(node)
        self.number_of[node.name] = number
        self._tenants_on.append(Counter())
        self._pods_on.append(0)
        self._make_node_room(number)
        self.free[number] = self.capacity(node)
        self.gpu_free[number, : node.gpus] = GPU_MILLI
        self.profile_of[number] = self._profile_number(node)
        limit = self.tenancy.node_rules(node).blast_radius
        self.occupancy_of[number] = self._occupancy_number(Occupancy((), limit))
        self._reclass(number)

    def _make_node_room(self, number: int) -> None:
        if number < len(self.free):
            return
        more = max(64, number)
        self.free = np.pad(self.free, ((0, more), (0, 0)))
        self.gpu_free = np.pad(self.gpu_free, ((0, more), (0, 0)))
        self.profile_of = np.pad(self.profile_of, (0, more))
        self.occupancy_of = np.pad(self.occupancy_of, (0, more))

    def _leave(self, name: str) -> None:
        number = self.number_of.get(name, GONE)
        if number == GONE:
            raise StateConflict(f"node {name} is unknown")
        if self._pods_on[number]:
            raise StateConflict(f"node {name} still holds pods")
        del self.number_of[name]
        self.nodes[number] = None
        self.classes.remove(number)

    def _reclass(self, node: int) -> None:
        if self._late is not None:
            self._late.add(node)
            return
        self._row[0] = self.profile_of[node]
        self._row[1] = self.occupancy_of[node]
        self._row[2] = node if self._identify_nodes else -1
        write_free(self.free[node], self.gpu_free[node], self._row)
        self.classes.move(node, self._row)

    # --- interning ------------------------------------------------------------------------------------------

    def capacity(self, node: Node) -> Int64:
        """The allocatable amounts of a node as a vector over `columns`; unstated base resources do not limit."""
        stated = dict(node.allocatable)
        default = dict.fromkeys(BASE_RESOURCES, UNSTATED)
        return np.array([stated.get(name, default.get(name, 0)) for name in self.columns], np.int64)

    def demand(self, shape: Shape) -> Demand:
        """The demand of a shape, admitted once; a shape that looks at new labels splits the classes by them."""
        number = self._demand_numbers.get(shape)
        if number is not None:
            return self.demands[number]
        if not shape.label_keys <= self._label_keys:
            self._label_keys |= shape.label_keys
            self._reprofile()
        admission = self.tenancy.admit(shape)
        answers = self._coresidency.setdefault(admission.presence, Coresidency(admission.presence))
        demand = Demand(len(self.demands), shape, admission, answers, self.columns)
        self._demand_numbers[shape] = demand.number
        self.demands.append(demand)
        return demand

    def _reprofile(self) -> None:
        for number, node in enumerate(self.nodes):
            if node is not None:
                self.profile_of[number] = self._profile_number(node)
                self._reclass(number)

    def _profile_number(self, node: Node) -> int:
        profile = Profile(
            capacity=tuple(int(amount) for amount in self.capacity(node)),
            gpus=node.gpus,
            gpu_model=node.gpu_model,
            labels=tuple(label for label in node.labels if label[0] in self._label_keys),
            taints=node.taints,
            unschedulable=node.unschedulable,
            sandboxes=node.sandboxes and self.tenancy.node_rules(node).sandboxes,
        )
        self.model_numbers.setdefault(node.gpu_model, min(len(self.model_numbers), LAST_MODEL))
        known = self._profile_numbers.setdefault(profile, len(self.profiles))
        if known == len(self.profiles):
            self.profiles.append(profile)
        return known

    def _occupancy_number(self, occupancy: Occupancy) -> int:
        known = self._occupancy_numbers.setdefault(occupancy, len(self.occupancies))
        if known == len(self.occupancies):
            self.occupancies.append(occupancy)
        return known

    # --- reading --------------------------------------------------------------------------------------------

    def is_alone(self, node: int, presence: Presence | None) -> bool:
        """Whether a single pod makes up the presence on a node, so that it would leave with the pod."""
        return presence is not None and self._tenants_on[node][presence] == 1

    def snapshot(self) -> ClusterState:
        """A private copy: decisions tried on it leave this state as it is."""
        return copy.deepcopy(self)

    def verify(self) -> None:
        """Recompute every array from the nodes and the placed pods.

        Raises:
            StateCorrupt: something differs; each difference is named.
        """
        fresh = ClusterState(
            [node for node in self.nodes if node], self.tenancy, identify_nodes=self._identify_nodes
        )
        for uid, standing in self.pods.items():
            holder = self.nodes[standing.node]
            if holder is None:
                raise StateCorrupt([f"pod {uid} stands on a node that left"])
            fresh.place(
                fresh.demand(self.demands[standing.demand].shape), Placed(uid, holder.name, standing.devices)
            )
        differences = [*self._differences(fresh), *self._overdrawn()]
        if differences:
            raise StateCorrupt(differences)

    def _differences(self, fresh: ClusterState) -> list[str]:
        found = []
        for name, number in self.number_of.items():
            other = fresh.number_of[name]
            if not np.array_equal(self.free[number], fresh.free[other]):
                found.append(f"node {name}: free {self.free[number]} but pods leave {fresh.free[other]}")
            if not np.array_equal(self.gpu_free[number], fresh.gpu_free[other]):
                found.append(
                    f"node {name}: devices {self.gpu_free[number]} but pods leave {fresh.gpu_free[other]}"
                )
            if self._tenants_on[number] != fresh._tenants_on[other]:
                found.append(f"node {name}: tenants {self._tenants_on[number]} but pods say otherwise")
            if int(self.classes.of_node[number]) == GONE:
                found.append(f"node {name}: has no class")
        return found

    def _overdrawn(self) -> list[str]:
        return [
            f"node {name}: overdrawn, free {self.free[number]}, devices {self.gpu_free[number]}"
            for name, number in self.number_of.items()
            if (self.free[number] < 0).any() or (self.gpu_free[number] < 0).any()
        ]


def resource_columns(nodes: list[Node]) -> dict[str, int]:
    """Number the resources: the base ones, every extended one that a node has by name, `UNKNOWN` for all others."""
    extended = {name for node in nodes for name, _ in node.allocatable} - set(BASE_RESOURCES)
    return {name: column for column, name in enumerate((*BASE_RESOURCES, *sorted(extended), UNKNOWN))}


@compiled
def write_free(free: Int64, gpu_free: Int64, row: Int64) -> None:
    """Append what is free to a class row, GPU devices sorted ascending, so that equal states are equal bytes."""
    start = STANDING + len(free)
    for column in range(len(free)):
        row[STANDING + column] = free[column]
    for device in range(len(gpu_free)):
        value = gpu_free[device]
        position = start + device
        while position > start and row[position - 1] > value:
            row[position] = row[position - 1]
            position -= 1
        row[position] = value
