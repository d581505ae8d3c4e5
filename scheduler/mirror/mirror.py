"""One picture of the cluster out of many watches: nodes and pods in, `ClusterState` and `Ledger` kept true. Pure.

The API server is right: whatever it says replaces what was assumed. Pods that others placed are counted like ours.
What the shared store must learn of it is left in `effects`, for the loop to carry there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from scheduler.kube.objects import NodeObject, PodObject
from scheduler.mirror.effects import Effects, nothing
from scheduler.mirror.neighbours import guard_of
from scheduler.mirror.places import Places
from scheduler.mirror.pools import offered, pool_of_node
from scheduler.mirror.reading import NATIVE, UNKNOWN_SIZE, Reader
from scheduler.mirror.record import ENDED, PodRecord, Stage
from scheduler.model import Decision, Node, Placed, Pod, Shape
from scheduler.placement.cycle import Cycle
from scheduler.placement.judge import Judge
from scheduler.placement.score.registry import Policy
from scheduler.placement.state import ClusterState
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge, Phase
from tenants.ledger.forest import quotas_of
from tenants.model import TenantSet


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
        self.effects = nothing()
        self._reader = Reader(tenants, self.group_sizes)
        self._offer_stale = True
        self._places = Places(self.nodes, self.pods, tenants, policy)

    @property
    def state(self) -> ClusterState:
        """The arrays; made anew now and then, so nobody keeps them."""
        return self._places.state

    @property
    def cycle(self) -> Cycle:
        """Decides on the arrays."""
        return self._places.cycle

    @property
    def judge(self) -> Judge:
        """Judges nodes that somebody else names."""
        return self._places.judge

    @property
    def builds(self) -> int:
        """How often the arrays were made anew."""
        return self._places.builds

    # --- nodes ----------------------------------------------------------------------------------------------

    def replace_nodes(self, objects: Iterable[NodeObject]) -> None:
        """The whole list of nodes, at the start and after a gap in the watch."""
        nodes = {node.name: node for node in (self._reader.node(found) for found in objects)}
        if nodes != self.nodes:
            self.nodes, self._offer_stale = nodes, True
            self.guard = guard_of(self.tenants, nodes)
            self._places.build(self.nodes, self.tenants)

    def node_changed(self, found: NodeObject) -> bool:
        """A node is new or differs; False where nothing that placement reads has changed."""
        node = self._reader.node(found)
        if self.nodes.get(node.name) == node:
            return False
        known, self._offer_stale = node.name in self.nodes, True
        self.nodes[node.name] = node
        self._places.node_changed(node, known=known)
        return True

    def node_removed(self, name: str) -> bool:
        """A node is gone; its pods stand nowhere until the API server removes them."""
        if self.nodes.pop(name, None) is None:
            return False
        self._offer_stale = True
        self._places.clear(name)
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
        self._places.stand(record, before)
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
        self._places.lift(record)
        if uid in self.ledger.entries:
            self.ledger.release(uid)
            self.effects.released(uid)
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
        decision = self._places.choose(Pod(uid, self._reader.in_pool(record)), again=again)
        if isinstance(decision, Placed):
            self.assume(record, decision)
        return decision

    def assume(self, record: PodRecord, placed: Placed) -> None:
        """Act as if the pod stood there already."""
        self._places.lift(record)
        record.stage, record.node = Stage.ASSUMED, placed.node
        self._places.put(record, placed)

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
            self._places.lift(record)
            record.node = node
            self._places.put(record)
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
        return self._places.is_overdrawn(node)

    def unplace(self, uid: str, stage: Stage = Stage.GATED) -> bool:
        """Take an assumption back; a pod that is bound by now stays, and the answer is False."""
        record = self.pods.get(uid)
        if record is None or record.stage is not Stage.ASSUMED:
            return False
        self._places.lift(record)
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
        self._places.build(self.nodes, self.tenants)
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
        self._places.tidy()

    def drain(self) -> Effects:
        """What the store must learn, handed over."""
        told, self.effects = self.effects, nothing()
        return told

    def untold(self, told: Effects) -> None:
        """The store did not hear it. What stands is compared whole later; who is gone must be told again."""
        self.effects.release.update(told.release - self.pods.keys())

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
            self.effects.recorded(record.charge)
        if record.stage is Stage.LEAVING and (entry is None or entry.phase is not Phase.TERMINATING):
            self.ledger.terminate(record.uid)
            self.effects.terminated(record.uid)


def charge_on(charge: Charge, node: Node, tenants: TenantSet) -> Charge:
    """The charge of a pod that goes to this node: drawn from its pool, and seen by its neighbours."""
    return msgspec.structs.replace(charge, pool=pool_of_node(node, tenants.pools), node=node.name)
