"""One picture of the cluster out of many watches: nodes and pods in, `ClusterState` and `Ledger` kept true. Pure.

The API server is right: whatever it says replaces what was assumed. Pods that others placed are counted like ours.
What the shared store must learn of it is left in `effects`, for the loop to carry there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from scheduler.kube.objects import NodeObject, PodObject
from scheduler.mirror.neighbours import guard_of
from scheduler.mirror.pools import offered, pool_of_node
from scheduler.mirror.reading import NATIVE, UNKNOWN_SIZE, Reader, guarded_shape, pinned_to, standing_shape
from scheduler.mirror.record import ENDED, PodRecord, Stage
from scheduler.model import Decision, Node, Placed, Pod, Refused, Shape
from scheduler.placement.cycle import Cycle
from scheduler.placement.events import NodeJoined, NodeLeft, PodLeft
from scheduler.placement.judge import Judge
from scheduler.placement.score.registry import Policy
from scheduler.placement.state import ClusterState
from scheduler.placement.tenancy import DeclaredRules
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge, Phase
from tenants.ledger.forest import quotas_of
from tenants.model import TenantSet

MOST_DEMANDS = 20_000
"""Shapes that a state remembers before it is built anew: those of pods long gone are never forgotten singly."""


class Effects(NamedTuple):
    """What the watch showed and the store does not know yet."""

    record: dict[str, Charge]
    terminate: set[str]
    release: set[str]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.record or self.terminate or self.release)


class Mirror:
    """Nodes, pods, the arrays and the ledger that follow from them.

    Args:
        tenants: the rules; `retenant` changes them.
        policy: makes the scoring policy of a new cluster state.
    """

    def __init__(self, tenants: TenantSet, policy: Callable[[], Policy]) -> None:
        self.tenants = tenants
        self.nodes: dict[str, Node] = {}
        self.group_sizes: dict[str, int] = {}
        self.guard = guard_of(tenants, self.nodes)
        self.pods: dict[str, PodRecord] = {}
        self.uid_of: dict[str, str] = {}
        self.ledger = Ledger()
        self.effects = Effects({}, set(), set())
        self._policy = policy
        self._reader = Reader(tenants, self.group_sizes)
        self._on_node: defaultdict[str, set[str]] = defaultdict(set)
        self.builds = 0
        self._offer_stale = True
        self._build()

    # --- nodes ----------------------------------------------------------------------------------------------

    def replace_nodes(self, objects: Iterable[NodeObject]) -> None:
        """The whole list of nodes, at the start and after a gap in the watch."""
        nodes = {node.name: node for node in (self._reader.node(found) for found in objects)}
        if nodes != self.nodes:
            self.nodes, self._offer_stale = nodes, True
            self.guard = guard_of(self.tenants, nodes)
            self._build()

    def node_changed(self, found: NodeObject) -> bool:
        """A node is new or differs; False where nothing that placement reads has changed."""
        node = self._reader.node(found)
        if self.nodes.get(node.name) == node:
            return False
        known, self._offer_stale = node.name in self.nodes, True
        self.nodes[node.name] = node
        if not self._has_room_for(node):
            self._build()
            return True
        if known:
            self._clear(node.name)
        self.state.apply(NodeJoined(node))
        self._settle(node.name)
        return True

    def node_removed(self, name: str) -> bool:
        """A node is gone; its pods stand nowhere until the API server removes them."""
        if self.nodes.pop(name, None) is None:
            return False
        self._offer_stale = True
        self._clear(name)
        return True

    # --- pods -----------------------------------------------------------------------------------------------

    def replace_pods(self, objects: Iterable[PodObject]) -> None:
        """The whole list of pods: those that are not in it are gone."""
        seen = set()
        with self.state.at_once():
            for found in objects:
                seen.add(found.metadata.uid)
                self.pod_changed(found)
        for uid in self.pods.keys() - seen:
            self.pod_removed(uid)

    def pod_changed(self, found: PodObject) -> PodRecord | None:
        """A pod is new or differs; None when it has ended."""
        if found.status.phase in ENDED:
            self.pod_removed(found.metadata.uid)
            return None
        before, version = self.pods.get(found.metadata.uid), found.metadata.resource_version
        if before is not None and version and before.version == version:
            return before  # a list tells it again
        record = self._reader.pod(found, self.nodes)
        if before is not None and before.holds and not record.holds:  # older than what we did, or know by now
            record.stage, record.node, record.charge = before.stage, before.node, before.charge
        self._stand(record, before)
        self.pods[record.uid] = record
        self.uid_of[record.key] = record.uid
        self._charge(record)
        return record

    def pod_removed(self, uid: str) -> PodRecord | None:
        """A pod is gone or has ended; what it held is free."""
        record = self.pods.pop(uid, None)
        if record is None:
            return None
        if self.uid_of.get(record.key) == uid:
            del self.uid_of[record.key]
        self._lift(record)
        if uid in self.ledger.entries:
            self.ledger.release(uid)
            self._tell(release=uid)
        return record

    def read(self, found: PodObject) -> PodRecord:
        """What would be remembered of a pod that the watch has not shown yet; nothing is."""
        return self._reader.pod(found, self.nodes)

    def group_changed(self, namespace: str, name: str, size: int | None) -> list[PodRecord]:
        """A PodGroup is known, or gone (None); the pods that belong to it."""
        group = NATIVE + name
        key, size = f"{namespace}/{group}", UNKNOWN_SIZE if size is None else size
        if self.group_sizes.get(key, UNKNOWN_SIZE) == size:
            return []
        self.group_sizes[key] = size
        if size == UNKNOWN_SIZE:
            del self.group_sizes[key]
        members = [pod for pod in self.pods.values() if pod.group == group and pod.namespace == namespace]
        for pod in members:
            pod.group_size = size
        return members

    # --- choices of ours ------------------------------------------------------------------------------------

    def shape_in_pool(self, record: PodRecord) -> Shape:
        """The shape, kept to the nodes of the pool that the charge draws from."""
        return self._reader.in_pool(record)

    def place(self, uid: str, *, again: bool = False) -> Decision:
        """Choose a node for a waiting pod and take the room there, before anybody else can; `again` as in `Cycle`."""
        record = self.pods[uid]
        pod = Pod(uid, self._reader.in_pool(record))
        pinned = pinned_to(pod.shape)
        decision = self._on_its_node(pod, pinned) if pinned else self.cycle.decide(pod, again=again)
        if isinstance(decision, Placed):
            self.assume(record, decision)
        return decision

    def _on_its_node(self, pod: Pod, node: str) -> Decision:
        """A pod that names its node (a DaemonSet's) is judged there alone: its shape would make every node a class."""
        shape = guarded_shape(pod.shape)
        verdict = self.judge.judge(Pod(pod.uid, shape), [node])
        if verdict.fitting:
            return Placed(pod.uid, node, self.state.fullest_devices(node, self.state.demand(shape)))
        why = verdict.failed.get(node) or verdict.unresolvable.get(node) or verdict.error
        return Refused(pod.uid, why, detail=f"on node {node}, the only one that the pod names")

    def assume(self, record: PodRecord, placed: Placed) -> None:
        """Act as if the pod stood there already."""
        self._lift(record)
        record.stage, record.node = Stage.ASSUMED, placed.node
        self._put(record, placed)

    def settle(self, uid: str) -> Charge:
        """Charge an assumed pod where it is to stand; the charge for the store."""
        record = self.pods[uid]
        record.charge = charge_on(record.charge, self.nodes[record.node], self.tenants)
        self.ledger.record(record.charge)
        return record.charge

    def bound(self, uid: str, node: str) -> PodRecord | None:
        """The API server has said that a pod stands on this node; nothing takes that back but the pod's end."""
        record = self.pods.get(uid)
        if record is None or record.stage in {Stage.BOUND, Stage.LEAVING}:
            return record
        if record.node != node or record.placed is None:
            self._lift(record)
            record.node = node
            self._put(record)
        record.stage = Stage.BOUND
        known = self.nodes.get(node)
        record.charge = (
            charge_on(record.charge, known, self.tenants)
            if known
            else msgspec.structs.replace(record.charge, node=node)
        )
        self._charge(record)
        return record

    def is_overdrawn(self, node: str) -> bool:
        """Whether its pods take more than it has: somebody else has bound there too."""
        number = self.state.number_of.get(node)
        return number is not None and bool(
            (self.state.free[number] < 0).any() or (self.state.gpu_free[number] < 0).any()
        )

    def unplace(self, uid: str, stage: Stage = Stage.GATED) -> bool:
        """Take an assumption back; a pod that is bound by now stays, and the answer is False."""
        record = self.pods.get(uid)
        if record is None or record.stage is not Stage.ASSUMED:
            return False
        self._lift(record)
        record.stage, record.node = stage, ""
        record.charge = msgspec.structs.replace(record.charge, node="")
        return True

    def forget(self, uid: str, stage: Stage = Stage.GATED) -> None:
        """The same, and its quota is free again."""
        if self.unplace(uid, stage):
            self.ledger.release(uid)

    # --- the rules ------------------------------------------------------------------------------------------

    def retenant(self, tenants: TenantSet) -> None:
        """Other tenant files: every admission, neighbourhood and charge is judged anew."""
        self.tenants, self.guard = tenants, guard_of(tenants, self.nodes)
        self._reader = Reader(tenants, self.group_sizes)
        for record in self.pods.values():
            self._reader.renew(record, self.nodes)
        self._build()
        self.ledger, self._offer_stale = Ledger(), True
        self.requota()
        for record in self.pods.values():
            self._charge(record)

    def requota(self) -> bool:
        """Bring the quota tree in line with the nodes and the tenant files; whether it had to change."""
        if not self._offer_stale:
            return False
        self._offer_stale = False
        quotas = quotas_of(self.tenants, offered(self.nodes.values(), self.tenants.pools))
        if quotas == self.ledger.quotas:
            return False
        self.ledger.configure(quotas)
        return True

    def tidy(self) -> None:
        """Forget the shapes of pods long gone."""
        if len(self.state.demands) > MOST_DEMANDS:
            self._build()

    def drain(self) -> Effects:
        """What the store must learn, handed over."""
        told, self.effects = self.effects, Effects({}, set(), set())
        return told

    def untold(self, told: Effects) -> None:
        """The store did not hear it. What stands is compared whole later; who is gone must be told again."""
        self.effects.release.update(told.release - self.pods.keys())

    # --- inside ---------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.builds += 1
        self.state = ClusterState(list(self.nodes.values()), DeclaredRules(self.tenants))
        self.cycle = Cycle(self.state, self._policy())
        self.judge = Judge(self.cycle)
        self._on_node.clear()
        with self.state.at_once():
            for record in self.pods.values():
                placed, record.placed = record.placed, None
                if record.holds:
                    self._put(record, placed)

    def _has_room_for(self, node: Node) -> bool:
        return node.gpus <= self.state.devices and all(
            name in self.state.columns for name, _ in node.allocatable
        )

    def _clear(self, name: str) -> None:
        """Lift every pod off a node and take the node out."""
        for uid in self._on_node[name]:
            record = self.pods[uid]
            if record.placed is not None:
                self.state.apply(PodLeft(uid))
                record.placed = None
        if name in self.state.number_of:
            self.state.apply(NodeLeft(name))

    def _settle(self, name: str) -> None:
        """Put the pods of a node where they stand."""
        for uid in self._on_node[name]:
            self._put(self.pods[uid])

    def _stand(self, record: PodRecord, before: PodRecord | None) -> None:
        """Move a pod in the arrays from what was known of it to what is."""
        if before is not None:
            same = (before.node, before.tenant, standing_shape(before.shape)) == (
                record.node, record.tenant, standing_shape(record.shape),
            )  # fmt: skip
            if same:
                record.placed = before.placed
                return
            self._lift(before)
        if record.holds:
            self._put(record)

    def _put(self, record: PodRecord, placed: Placed | None = None) -> None:
        self._on_node[record.node].add(record.uid)
        if record.node not in self.nodes:
            return
        demand = self.state.demand(standing_shape(record.shape))
        if placed is None or placed.node != record.node:
            placed = Placed(record.uid, record.node, self.state.fullest_devices(record.node, demand))
        self.state.place(demand, placed)
        record.placed = placed

    def _lift(self, record: PodRecord) -> None:
        if record.placed is not None:
            self.state.apply(PodLeft(record.uid))
            record.placed = None
        self._on_node[record.node].discard(record.uid)

    def _charge(self, record: PodRecord) -> None:
        """Keep the ledger at what the API server shows."""
        if not record.tenant or record.stage not in {Stage.BOUND, Stage.LEAVING}:
            return
        entry = self.ledger.entries.get(record.uid)
        if (
            entry is None
            or entry.charge != record.charge
            or entry.phase not in {Phase.HELD, Phase.TERMINATING}
        ):
            self.ledger.record(record.charge)
            self._tell(record=record.charge)
        if record.stage is Stage.LEAVING and (entry is None or entry.phase is not Phase.TERMINATING):
            self.ledger.terminate(record.uid)
            self._tell(terminate=record.uid)

    def _tell(self, record: Charge | None = None, terminate: str = "", release: str = "") -> None:
        if record is not None:
            self.effects.record[record.uid] = record
            self.effects.release.discard(record.uid)
        if terminate:
            self.effects.terminate.add(terminate)
        if release:
            self.effects.release.add(release)
            self.effects.record.pop(release, None)
            self.effects.terminate.discard(release)


def charge_on(charge: Charge, node: Node, tenants: TenantSet) -> Charge:
    """The charge of a pod that goes to this node: drawn from its pool, and seen by its neighbours."""
    return msgspec.structs.replace(charge, pool=pool_of_node(node, tenants.pools), node=node.name)
