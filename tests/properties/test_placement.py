"""Any mix of arrivals and departures: the cycle agrees with a plain search over nodes, and the state stays exact."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from scheduler.model import CPU, GPU_MILLI, MEMORY, Gpu, Placed, Pod, Shape
from scheduler.placement.cycle import Cycle
from scheduler.placement.events import PodLeft
from scheduler.placement.score.registry import POLICIES
from tenants.model import CoResidency, Trust
from tests.support.cluster import SANDBOX, make_cycle, make_node, make_rules, make_shape, make_tenant

TENANTS = (
    make_tenant("open"),
    make_tenant("alone", co_residency=CoResidency.TENANT_ONLY),
    make_tenant("stranger", trust=Trust.UNTRUSTED),
    make_tenant("other", trust=Trust.UNTRUSTED, never_with=frozenset({"open"})),
)
GPUS = st.one_of(
    st.none(),
    st.builds(Gpu, st.just(1), st.sampled_from([100, 250, 500, 810])),
    st.builds(Gpu, st.sampled_from([1, 2, 4]), st.just(GPU_MILLI)),
)
SHAPES = st.builds(
    lambda cpu, gpu, tenant: make_shape(cpu=cpu, memory=cpu, gpu=gpu, tenant=tenant),
    st.sampled_from([500, 1000, 4000, 9000]),
    GPUS,
    st.sampled_from([tenant.name for tenant in TENANTS]),
)


class PlainNode:
    """What a node holds, kept as a list of pods: the slow truth that the arrays are compared with."""

    def __init__(self, gpus: int) -> None:
        self.cpu, self.memory, self.devices = 8000, 32768, [GPU_MILLI] * gpus
        self.pods: dict[str, tuple[Shape, tuple[int, ...]]] = {}

    def admits(self, shape: Shape) -> bool:
        return self._has_room(shape) and self._may_join(shape.tenant)

    def _has_room(self, shape: Shape) -> bool:
        cpu, memory = total(shape)
        gpu = shape.gpu
        free = sum(milli >= gpu.milli for milli in self.devices) if gpu else 0
        return cpu <= self.cpu and memory <= self.memory and (gpu is None or free >= gpu.count)

    def _may_join(self, tenant: str) -> bool:
        present = {shape.tenant for shape, _ in self.pods.values()} - {tenant}
        if present and "alone" in present | {tenant}:
            return False
        if {"open", "other"} <= present | {tenant}:
            return False
        return len((present | {tenant}) & {"stranger", "other"}) <= 1

    def take(self, name: str, shape: Shape, devices: tuple[int, ...], sign: int = 1) -> None:
        cpu, memory = total(shape)
        self.cpu, self.memory = self.cpu - sign * cpu, self.memory - sign * memory
        for device in devices:
            self.devices[device] -= sign * (shape.gpu.milli if shape.gpu else 0)
        if sign > 0:
            self.pods[name] = (shape, devices)


def total(shape: Shape) -> tuple[int, int]:
    """CPU and memory with the sandbox that an untrusted tenant pays for."""
    asked, sandboxed = dict(shape.requests), shape.tenant in ("stranger", "other")
    return (
        asked[CPU] + sandboxed * SANDBOX.overhead_cpu_milli,
        asked[MEMORY] + sandboxed * SANDBOX.overhead_memory_mib,
    )


class Placement(RuleBasedStateMachine):
    """Arrivals and departures in any order, under any policy."""

    pods: Bundle[str] = Bundle("pods")

    @initialize(
        policy=st.sampled_from(sorted(POLICIES)), gpus=st.lists(st.integers(0, 4), min_size=1, max_size=5)
    )
    def begin(self, policy: str, gpus: list[int]) -> None:
        nodes = [make_node(f"n{number}", gpus=count) for number, count in enumerate(gpus)]
        self.cycle: Cycle = make_cycle(*nodes, tenancy=make_rules(*TENANTS, blast_radius=1), policy=policy)
        self.plain = {node.name: PlainNode(node.gpus) for node in nodes}
        self.arrived = 0

    @rule(target=pods, shape=SHAPES)
    def arrive(self, shape: Shape) -> str:
        self.arrived += 1
        name = f"pod-{self.arrived}"
        decision = self.cycle.decide(Pod(name, shape))
        possible = {node for node, plain in self.plain.items() if plain.admits(shape)}
        if not isinstance(decision, Placed):
            assert not possible, f"refused ({decision.reason}) although {possible} admit it"
            assert sum(blocker.nodes for blocker in decision.blockers) == len(self.plain)
            return ""
        assert decision.node in possible
        assert len(set(decision.devices)) == (shape.gpu.count if shape.gpu else 0)
        self.cycle.state.place(self.cycle.state.demand(shape), decision)
        self.plain[decision.node].take(name, shape, decision.devices)
        return name

    @rule(name=pods)
    def leave(self, name: str) -> None:
        holder = next((plain for plain in self.plain.values() if name in plain.pods), None)
        if holder is None:
            return
        self.cycle.state.apply(PodLeft(name))
        shape, devices = holder.pods.pop(name)
        holder.take(name, shape, devices, sign=-1)

    @invariant()
    def nothing_is_overdrawn(self) -> None:
        for plain in self.plain.values():
            assert plain.cpu >= 0
            assert plain.memory >= 0
            assert min(plain.devices, default=0) >= 0

    def teardown(self) -> None:
        if hasattr(self, "cycle"):
            self.cycle.state.verify()


TestPlacement = Placement.TestCase
TestPlacement.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
