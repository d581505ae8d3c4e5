"""What a change of tenant files means for whom."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tenants.model import (
    Admin,
    Allowance,
    CoResidency,
    Dimension,
    Group,
    Isolation,
    Network,
    NodeClass,
    Peer,
    Pool,
    Port,
    Runtime,
    RuntimeClass,
    Tenant,
    TenantSet,
    Trust,
)
from tenants.plan.effect import Effect, Impact, Kind
from tenants.plan.effects import effects
from tenants.pods import Pod
from tests.support.tenants import CLASSES

CPU, GPU, MEMORY = (Dimension("default", name) for name in ("cpu", "nvidia.com/gpu", "memory"))
A = Tenant(name="a", trust=Trust.TRUSTED, namespaces=("a",), priority_ceiling=1000,
           quota={CPU: Allowance(guaranteed=4000, max=8000), GPU: Allowance(guaranteed=8000)})  # fmt: skip
B = Tenant(name="b", namespaces=("b",), namespace_prefixes=("b-",))
OLD = TenantSet(tenants={"a": A, "b": B}, runtime_classes=CLASSES)
D, W, C = Impact.DISRUPTS, Impact.WEAKENS, Impact.CHANGES


def with_a(**fields: Any) -> TenantSet:
    return msgspec.structs.replace(OLD, tenants={"a": msgspec.structs.replace(A, **fields), "b": B})


def with_b(**fields: Any) -> TenantSet:
    return msgspec.structs.replace(OLD, tenants={"a": A, "b": msgspec.structs.replace(B, **fields)})


def share(dimension: Dimension, **fields: int) -> TenantSet:
    return with_a(quota={**A.quota, dimension: Allowance(**fields)})


def other(**fields: Any) -> TenantSet:
    return msgspec.structs.replace(OLD, **fields)


CASES = [
    ("nothing", OLD, []),
    ("a guarantee lost", share(GPU, guaranteed=4000), [(D, "tenant a loses 4 GPU of guarantee (8 → 4)")]),
    ("a guarantee won", share(MEMORY, guaranteed=65536), [(C, "tenant a gains 64Gi memory of guarantee (0Mi → 64Gi)")]),
    ("a max lowered", share(CPU, guaranteed=4000, max=5000),
     [(D, "max of tenant a for default/cpu lowered (8 → 5)")]),
    ("a max lifted", share(CPU, guaranteed=4000), [(C, "max of tenant a for default/cpu raised (8 → unlimited)")]),
    ("a lend limit", share(CPU, guaranteed=4000, max=8000, lend=0),
     [(C, "lend limit of tenant a for default/cpu lowered (unlimited → 0)")]),
    ("a weight", share(CPU, guaranteed=4000, max=8000, weight=3),
     [(C, "tenant a's weight among borrowers of default/cpu: 1 → 3")]),
    ("reclaim off", with_a(reclaim=False), [(D, "tenant a waits for lent capacity to come back by itself")]),
    ("a fence", with_a(fence=True), [(C, "preemption by members of a stays inside")]),
    ("trust falls", with_a(trust=Trust.UNTRUSTED),
     [(D, "running pods of a on runc must restart (how many is not known here)"),
      (C, "trust of a falls to untrusted: its pods get a kernel of their own")]),
    ("trust rises", with_b(trust=Trust.TRUSTED),
     [(W, "trust of b rises to trusted: its pods are free to run on the shared kernel")]),
    ("trust rises, still sandboxed", with_b(trust=Trust.TRUSTED, isolation=Isolation(runtime=Runtime.BULKHEAD)),
     [(W, "trust of b rises to trusted: its pods are sandboxed as its file says")]),
    ("neighbours", with_a(isolation=Isolation(co_residency=CoResidency.EXCLUSIVE)),
     [(C, "co-residency of a: shared → exclusive; running pods stay where they are")]),
    ("priority", with_a(priority_ceiling=10), [(C, "priority ceiling of a: 1000 → 10")]),
    ("an administrator", with_b(admins=(Admin(kind="User", name="ada"),)), [(W, "User ada administers b")]),
    ("a namespace moves in", with_b(namespaces=("b", "c")), [(C, "namespace c becomes tenant b's")]),
    ("a namespace moves out", with_b(namespace_prefixes=()), [(D, "namespace b-* is no longer tenant b's")]),
    ("a tenant goes", other(tenants={"a": A}), [(D, "tenant b is deleted with its quota, policies and rights")]),
    ("a tenant comes", other(tenants={"a": A, "b": B, "c": Tenant(name="c", namespaces=("c",), quota={
        CPU: Allowance(guaranteed=500)})}),
     [(C, "tenant c is new: untrusted, guaranteed 500m CPU, namespaces c")]),
    ("a group", other(groups={"g": Group(name="g", quota={CPU: Allowance(guaranteed=1000)})}),
     [(C, "group g is new"), (C, "group g gains 1 CPU of guarantee (0 → 1)")]),
    ("a flow one-sided", with_b(network=Network(allow_to=(Peer(tenant="a", ports=(Port(port=443),)),))), []),
    ("a flow both sides", other(tenants={
        "a": msgspec.structs.replace(A, network=Network(allow_from=(Peer(tenant="b", ports=(Port(port=443),)),))),
        "b": msgspec.structs.replace(B, network=Network(allow_to=(Peer(tenant="a"),)))}),
     [(W, "flow b -> a:443 opens")]),
    ("a flow to addresses", with_b(network=Network(allow_to=(Peer(cidr="192.0.2.0/24", exclude=("192.0.2.128/25",)),))),
     [(W, "flow b -> 192.0.2.0/24:* opens")]),
    ("isolation off", with_b(network=Network(isolate=False)),
     [(W, "flow b -> 0.0.0.0/0:* opens"), (W, "flow b -> ::/0:* opens"), (W, "flow b -> any other namespace:* opens"),
      (W, "flow 0.0.0.0/0 -> b:* opens"), (W, "flow ::/0 -> b:* opens"), (W, "flow any other namespace -> b:* opens")]),
    ("DNS shut", with_b(network=Network(dns=False)), [(D, "flow b -> kube-system:53,53/UDP closes")]),
    ("a runtime class", other(runtime_classes={**CLASSES, "bulkhead": RuntimeClass(
        name="bulkhead", handler="bulkhead", overhead_cpu_milli=100, overhead_memory_mib=256)}),
     [(C, "RuntimeClass bulkhead: handler bulkhead, 100m CPU and 128Mi a pod → handler bulkhead, 100m CPU "
          "and 256Mi a pod")]),
    ("a pool and a class of nodes", other(pools={"p": Pool(name="p")}, node_classes={"n": NodeClass(name="n")}),
     [(C, "pool p is new"), (C, "node class n is new")]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "new", "want"), CASES, ids=[case[0] for case in CASES])
def test_a_change_is_told_by_what_it_means(name: str, new: TenantSet, want: list[tuple[Impact, str]]) -> None:
    found = {(effect.impact, effect.text) for effect in effects(OLD, new)}
    assert found == set(want), name


def pod(name: str, **fields: Any) -> Pod:
    base: dict[str, Any] = {"uid": name, "namespace": "a", "node": "n", "requests": {"nvidia.com/gpu": 2000}}
    return Pod(name=name, **{**base, **fields})


def told(new: TenantSet, *pods: Pod) -> list[str]:
    return [effect.text for effect in effects(OLD, new, pods)]


FOUR = [pod(f"p{i}", created=f"2026-01-0{i + 1}T00:00:00Z") for i in range(4)]


@pytest.mark.parametrize(
    ("name", "new", "pods", "want"),
    [
        ("two of four are left uncovered", share(GPU, guaranteed=4000), FOUR,
         "2 pods of a become reclaimable for default/nvidia.com/gpu"),
        ("one", share(GPU, guaranteed=6000), FOUR, "1 pod of a becomes reclaimable for default/nvidia.com/gpu"),
        ("over its new max", share(CPU, guaranteed=4000, max=5000), [pod("big", requests={"cpu": 7000})],
         "tenant a uses 2 CPU more than its new max: no new pod until that is released"),
        ("on runc", with_a(trust=Trust.UNTRUSTED, priority_ceiling=1000),
         [pod("x"), pod("y", runtime_class="bulkhead"), pod("z", runtime_class="runc")],
         "2 running pods of a on runc must restart"),
        ("finished ones do not count", with_a(trust=Trust.UNTRUSTED), [pod("x"), pod("y", phase="Succeeded")],
         "1 running pod of a on runc must restart"),
        ("above the ceiling", with_a(priority_ceiling=10), [pod("x", priority=500)],
         "priority ceiling of a: 1000 → 10: 1 running pod above it could not be started again"),
        ("without a tenant", other(tenants={"b": B}), [pod("x")],
         "tenant a is deleted with its quota, policies and rights; 1 running pod left without a tenant"),
        ("a namespace in use", with_b(namespaces=("b", "c")), [pod("x", namespace="c")],
         "namespace c with 1 running pod becomes tenant b's"),
    ],
)  # fmt: skip
def test_running_pods_are_counted(name: str, new: TenantSet, pods: list[Pod], want: str) -> None:
    assert want in told(new, *pods), name


def test_the_least_important_and_youngest_pods_become_reclaimable_first() -> None:
    from tenants.plan.quota_effects import reclaimable

    important = pod("important", priority=10, created="2026-02-01T00:00:00Z")
    found = reclaimable([*FOUR, important], GPU, 4000, frozenset())
    assert [one.name for one in found] == ["p1", "p2", "p3"], "the important one and the oldest are covered"


def test_what_disrupts_comes_first() -> None:
    new = msgspec.structs.replace(share(GPU, guaranteed=4000), pools={"p": Pool(name="p")})
    found = effects(OLD, new)
    assert [effect.impact for effect in found] == [D, C]
    assert found[0] == Effect(D, Kind.GUARANTEE, "a", "tenant a loses 4 GPU of guarantee (8 → 4)")
