"""Where every pod stands: the arrays of placement, kept in step with the nodes and pods that are known. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

from scheduler.mirror.reading import guarded_shape, pinned_to, standing_shape
from scheduler.mirror.record import PodRecord
from scheduler.model import Decision, Node, Placed, Pod, Refused
from scheduler.placement.cycle import Cycle
from scheduler.placement.events import NodeJoined, NodeLeft, PodLeft
from scheduler.placement.judge import Judge
from scheduler.placement.score.registry import Policy
from scheduler.placement.state import ClusterState
from scheduler.placement.tenancy import DeclaredRules
from tenants.model import TenantSet

MOST_DEMANDS = 20_000
"""Shapes that a state remembers before it is built anew: those of pods long gone are never forgotten singly."""


class Places:
    """The arrays, the cycle and the judge over them, and which pods stand on which node.

    Args:
        nodes: those that are known, by name; the caller keeps them.
        pods: those that are known, by UID; the caller keeps them.
        tenants: the rules.
        policy: makes the scoring policy of a new cluster state.

    Attributes:
        builds: how often the arrays were made anew, which nothing that was derived from the old ones survives.
    """

    def __init__(
        self,
        nodes: Mapping[str, Node],
        pods: Mapping[str, PodRecord],
        tenants: TenantSet,
        policy: Callable[[], Policy],
    ) -> None:
        self._pods, self._policy = pods, policy
        self._on_node: defaultdict[str, set[str]] = defaultdict(set)
        self.builds = 0
        self.build(nodes, tenants)

    def build(self, nodes: Mapping[str, Node], tenants: TenantSet) -> None:
        """Make the arrays anew; from now on these are the nodes that are known, and the rules."""
        self.builds += 1
        self._nodes, self._tenants = nodes, tenants
        self.state = ClusterState(list(nodes.values()), DeclaredRules(tenants))
        self.cycle = Cycle(self.state, self._policy())
        self.judge = Judge(self.cycle)
        self._on_node.clear()
        with self.state.at_once():
            for record in self._pods.values():
                placed, record.placed = record.placed, None
                if record.holds:
                    self.put(record, placed)

    def tidy(self) -> None:
        """Forget the shapes of pods long gone."""
        if len(self.state.demands) > MOST_DEMANDS:
            self.build(self._nodes, self._tenants)

    # --- nodes ----------------------------------------------------------------------------------------------

    def node_changed(self, node: Node, *, known: bool) -> None:
        """A node that is among the known ones by now is new or, where it was `known`, differs."""
        if not self._has_room_for(node):
            self.build(self._nodes, self._tenants)
            return
        if known:
            self.clear(node.name)
        self.state.apply(NodeJoined(node))
        for uid in self._on_node[node.name]:
            self.put(self._pods[uid])

    def clear(self, name: str) -> None:
        """Lift every pod off a node and take the node out."""
        for uid in self._on_node[name]:
            record = self._pods[uid]
            if record.placed is not None:
                self.state.apply(PodLeft(uid))
                record.placed = None
        if name in self.state.number_of:
            self.state.apply(NodeLeft(name))

    def is_overdrawn(self, node: str) -> bool:
        """Whether its pods take more than it has: somebody else has bound there too."""
        number = self.state.number_of.get(node)
        return number is not None and bool(
            (self.state.free[number] < 0).any() or (self.state.gpu_free[number] < 0).any()
        )

    def _has_room_for(self, node: Node) -> bool:
        return node.gpus <= self.state.devices and all(
            name in self.state.columns for name, _ in node.allocatable
        )

    # --- pods -----------------------------------------------------------------------------------------------

    def choose(self, pod: Pod, *, again: bool) -> Decision:
        """A node for a pod; nothing is taken there yet. `again` as in `Cycle`."""
        pinned = pinned_to(pod.shape)
        return self._on_its_node(pod, pinned) if pinned else self.cycle.decide(pod, again=again)

    def _on_its_node(self, pod: Pod, node: str) -> Decision:
        """A pod that names its node (a DaemonSet's) is judged there alone: its shape would make every node a class."""
        shape = guarded_shape(pod.shape)
        verdict = self.judge.judge(Pod(pod.uid, shape), [node])
        if verdict.fitting:
            return Placed(pod.uid, node, self.state.fullest_devices(node, self.state.demand(shape)))
        why = verdict.failed.get(node) or verdict.unresolvable.get(node) or verdict.error
        return Refused(pod.uid, why, detail=f"on node {node}, the only one that the pod names")

    def stand(self, record: PodRecord, before: PodRecord | None) -> None:
        """Move a pod in the arrays from what was known of it to what is."""
        if before is not None:
            same = (before.node, before.tenant, standing_shape(before.shape)) == (
                record.node, record.tenant, standing_shape(record.shape),
            )  # fmt: skip
            if same:
                record.placed = before.placed
                return
            self.lift(before)
        if record.holds:
            self.put(record)

    def put(self, record: PodRecord, placed: Placed | None = None) -> None:
        """A pod takes room where its record says, on the devices of `placed` or the fullest that do."""
        self._on_node[record.node].add(record.uid)
        if record.node not in self._nodes:
            return
        demand = self.state.demand(standing_shape(record.shape))
        if placed is None or placed.node != record.node:
            placed = Placed(record.uid, record.node, self.state.fullest_devices(record.node, demand))
        self.state.place(demand, placed)
        record.placed = placed

    def lift(self, record: PodRecord) -> None:
        """A pod takes no room any more."""
        if record.placed is not None:
            self.state.apply(PodLeft(record.uid))
            record.placed = None
        self._on_node[record.node].discard(record.uid)
