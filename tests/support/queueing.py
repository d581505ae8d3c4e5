"""A queue with a ledger and a cluster around it: pods arrive, rounds run, guided pods are admitted, pods end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scheduler.model import MEMORY, Gpu, Node, Shape, amounts
from scheduler.placement.cycle import Cycle
from scheduler.placement.events import PodLeft
from scheduler.placement.score.registry import make_policy
from scheduler.placement.state import ClusterState
from scheduler.placement.tenancy import Tenancy
from scheduler.queueing.queue import Queue
from scheduler.queueing.room import ClusterRoom
from scheduler.queueing.waiting import Group, Guided, Outcome, Waiting, Waits
from tenants.ledger.answer import Admitted
from tenants.ledger.book import Ledger
from tests.support.cluster import make_node, make_shape
from tests.support.ledger import make_charge

SHAPES: dict[tuple[int, str, int], Shape] = {}


def make_waiting(
    uid: str,
    tenant: str = "a",
    *,
    cpu: int = 1000,
    gpus: int = 0,
    priority: int = 0,
    arrived: float = 0.0,
    group: Group | None = None,
    namespace: str = "",
) -> Waiting:
    """A pod of one CPU and no memory to speak of, in a namespace named like its tenant."""
    gpu = Gpu(gpus, 1000) if gpus else None
    shape = SHAPES.setdefault((cpu, tenant, gpus), make_shape(cpu=cpu, memory=0, gpu=gpu, tenant=tenant))
    return Waiting(
        uid=uid,
        key=f"{namespace or tenant}/{uid}",
        tenant=tenant,
        shape=shape,
        charge=make_charge(uid, tenant, priority=priority, cpu=cpu),
        priority=priority,
        arrived=arrived,
        group=group,
    )


class World:
    """Everything around a queue, changed by plain calls."""

    def __init__(
        self,
        ledger: Ledger,
        nodes: Sequence[Node] | None = None,
        *,
        patience_s: float = 60.0,
        holds: int = 1,
        tenancy: Tenancy | None = None,
    ) -> None:
        self.ledger = ledger
        policy = make_policy("best-fit", 1, None)
        state = ClusterState(list(nodes or [big_node()]), tenancy, identify_nodes=policy.identify_nodes)
        self.room = ClusterRoom(Cycle(state, policy))
        self.queue = Queue(patience_s=patience_s, holds=holds)
        self.running: dict[str, Guided] = {}
        self.now = 0.0

    @property
    def state(self) -> ClusterState:
        return self.room.cycle.state

    def add(self, *pods: Waiting) -> None:
        for pod in pods:
            self.queue.add(pod)

    def round(self, limit: int = 1000) -> list[Outcome]:
        """A round; who is guided is admitted for good."""
        outcomes = self.queue.round(self.ledger, self.room, now=self.now, limit=limit)
        for outcome in outcomes:
            if isinstance(outcome, Guided):
                answer = self.ledger.admit(outcome.waiting.charge)
                assert isinstance(answer, Admitted), f"{outcome.waiting.uid} was guided over quota: {answer}"
                self.running[outcome.waiting.uid] = outcome
        return outcomes

    def go(self, limit: int = 1000) -> list[str]:
        """A round; the UIDs that were guided, in order."""
        return [one.waiting.uid for one in self.round(limit) if isinstance(one, Guided)]

    def end(self, *uids: str) -> None:
        """Pods that ran are over."""
        for uid in uids:
            del self.running[uid]
            self.ledger.release(uid)
            self.state.apply(PodLeft(uid))
            self.queue.discard(uid)

    def per_tenant(self) -> Counter[str]:
        return Counter(one.waiting.tenant for one in self.running.values())

    def check(self) -> None:
        """Ledger, cluster and queue agree: what is placed is what runs, nothing is counted twice or kept."""
        self.ledger.verify()
        self.state.verify()
        assert set(self.state.pods) == set(self.running)
        assert not any(uid in self.queue for uid in self.running)


def big_node(name: str = "node", cpu: int = 1 << 40) -> Node:
    """A node with room for everything."""
    return Node(name=name, allocatable=amounts({"cpu_milli": cpu, MEMORY: 1 << 30, "pods": 1 << 30}))


def codes(outcomes: list[Outcome]) -> dict[str, str]:
    """uid -> code of those that were told why they wait."""
    return {one.waiting.uid: str(one.code) for one in outcomes if isinstance(one, Waits)}


__all__ = ["World", "big_node", "codes", "make_node", "make_waiting"]
