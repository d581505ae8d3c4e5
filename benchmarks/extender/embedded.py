"""A cluster in memory for the verbs: the real judge over real state, and no store, watch or API server behind it.

What a call costs here is what the extender itself costs. Also the cluster of the extender's tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scheduler.errors import StateConflict
from scheduler.extender.wire import BindingArgs
from scheduler.kube.convert import shape_of
from scheduler.kube.objects import PodObject
from scheduler.model import CPU, MEMORY, PODS, Node, Placed, Pod, Shape, amounts
from scheduler.placement.cycle import Cycle
from scheduler.placement.judge import Judge, Verdict
from scheduler.placement.score.registry import make_policy
from scheduler.placement.state import ClusterState
from scheduler.placement.tenancy import Tenancy


class EmbeddedCluster:
    """Answers for `nodes`; `bind` takes the room, and remembers the pods that filter has shown it.

    Args:
        nodes: the cluster.
        tenancy: the tenant rules, if any.
        policy: the scoring policy.
        tenant: whose all pods are.
    """

    def __init__(
        self, nodes: list[Node], tenancy: Tenancy | None = None, policy: str = "bulkhead", tenant: str = ""
    ) -> None:
        chosen = make_policy(policy, 1, None)
        self.cycle = Cycle(ClusterState(nodes, tenancy, identify_nodes=chosen.identify_nodes), chosen)
        self.why = ""
        self._judge = Judge(self.cycle)
        self._tenant = tenant
        self._shapes: dict[tuple[str, str], Shape] = {}
        self._last: dict[str, Shape] = {}

    def ready(self) -> str:
        """Empty unless a test says otherwise."""
        return self.why

    def concerns(self, namespace: str) -> bool:
        """Every namespace is a tenant's."""
        return True

    def judge(self, pod: PodObject, names: Sequence[str]) -> Verdict:
        """Judge by the shape, read once per version of the pod."""
        metadata = pod.metadata
        version = (metadata.uid, metadata.resource_version)
        shape = self._shapes.get(version)
        if shape is None:
            try:
                shape = shape_of(pod, self._tenant)
            except ValueError as error:
                return Verdict(error=f"the pod cannot be read: {error}")
            self._shapes[version] = self._last[metadata.uid] = shape
        return self._judge.judge(Pod(metadata.uid, shape), names)

    async def bind(self, binding: BindingArgs) -> str:
        """Take the room; the same binding again is bound."""
        assert isinstance(binding.uid, str)  # noqa: S101  # the reader needs it
        assert isinstance(binding.node, str)  # noqa: S101
        state, shape = self.cycle.state, self._last.get(binding.uid, NOTHING)
        standing = state.pods.get(binding.uid)
        if standing is not None:
            there = state.nodes[standing.node]
            return "" if there and there.name == binding.node else "the pod stands elsewhere"
        verdict = self._judge.judge(Pod(binding.uid, shape), [binding.node])
        if not verdict.fitting:
            return ", ".join({*verdict.failed.values(), *verdict.unresolvable.values()})
        try:
            demand = state.demand(shape)
            self.cycle.policy.observe(demand)
            devices = state.fullest_devices(binding.node, demand)
            state.place(demand, Placed(binding.uid, binding.node, devices))
        except StateConflict as conflict:
            return str(conflict)
        return ""

    def preempt(self, pod: PodObject, candidates: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        """Accept what kube-scheduler proposes."""
        return candidates


NOTHING = Shape(requests=())


def plain_nodes(names: Sequence[str]) -> list[Node]:
    """Nodes of 32 CPUs and 128 GiB under these names, each of them filled to a degree of its own."""
    return [
        Node(
            name=name,
            allocatable=amounts({CPU: 32000 - 37 * (i % 400), MEMORY: 131072 - 61 * (i % 900), PODS: 110}),
        )
        for i, name in enumerate(names)
    ]
