"""The rules at their plainest: node facts against a shape, tenant against tenant, the runtime a pod is due. Pure.

Semantics are those of kube-scheduler's TaintToleration and NodeAffinity plugins and of the tenant files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from benchmarks.checker.findings import BIT, Kind
from benchmarks.checker.lines import Node, Requirement, RuntimeClass, Shape, Taint, Tenant, Toleration


class Presence(NamedTuple):
    """A tenant's pods on a node, on the shared kernel or behind a wall."""

    tenant: str
    sandboxed: bool


class Admission(NamedTuple):
    """The runtime a pod is due and what that costs; `refusal` says why the tenant's rules forbid the pod."""

    presence: Presence | None = None
    overhead: Mapping[str, int] = {}
    refusal: str = ""


def admit(shape: Shape, tenants: Mapping[str, Tenant], classes: Mapping[str, RuntimeClass]) -> Admission:
    """The runtime that the tenant's trust and the pod's RuntimeClass lead to; without tenants there is no rule."""
    if not tenants:
        return Admission()
    tenant = tenants.get(shape.tenant)
    if tenant is None:
        return Admission(refusal=f"there is no tenant {shape.tenant!r}")
    walled = tenant.untrusted or tenant.runtime == "bulkhead"
    if not shape.runtime_class and not walled:
        return Admission(Presence(tenant.name, sandboxed=False))
    chosen = classes.get(shape.runtime_class) if shape.runtime_class else sandbox_class(classes)
    if chosen is None:
        return Admission(refusal=f"there is no RuntimeClass {shape.runtime_class or 'with a sandbox'!r}")
    if walled and not chosen.sandboxed:
        return Admission(refusal=f"tenant {tenant.name} must be sandboxed, {chosen.name} is not")
    if tenant.runtime == "runc" and chosen.sandboxed:
        return Admission(refusal=f"tenant {tenant.name} runs on runc, {chosen.name} is a sandbox")
    paid = {name: amount for name, amount in chosen.overhead.items() if amount}
    return Admission(Presence(tenant.name, chosen.sandboxed), paid)


def sandbox_class(classes: Mapping[str, RuntimeClass]) -> RuntimeClass | None:
    """The sandbox that a pod gets that names none: the first by name."""
    return next((classes[name] for name in sorted(classes) if classes[name].sandboxed), None)


def standing_bits(node: Node, shape: Shape, *, sandboxed: bool) -> int:
    """One bit per standing fact of the node that rules the shape out."""
    bits = BIT[Kind.UNSCHEDULABLE] if node.unschedulable else 0
    if untolerated(node.taints, shape.tolerations):
        bits |= BIT[Kind.TAINT]
    if not selected(node.labels, shape):
        bits |= BIT[Kind.NODE_AFFINITY]
    if shape.gpu and shape.gpu.models and node.gpu_model not in shape.gpu.models:
        bits |= BIT[Kind.GPU_MODEL]
    if sandboxed and not node.sandboxes:
        bits |= BIT[Kind.NO_SANDBOX]
    return bits


def untolerated(taints: Iterable[Taint], tolerations: list[Toleration]) -> list[Taint]:
    """The taints that keep the pod away; PreferNoSchedule keeps nobody away."""
    return [
        taint
        for taint in taints
        if taint.effect != "PreferNoSchedule" and not any(tolerates(one, taint) for one in tolerations)
    ]


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Match as core/v1: an empty effect or key with Exists is a wildcard; Equal compares values."""
    if toleration.effect not in ("", taint.effect) or toleration.key not in ("", taint.key):
        return False
    if toleration.operator == "Exists":
        return True
    return toleration.key != "" and toleration.value == taint.value


def selected(labels: Mapping[str, str], shape: Shape) -> bool:
    """The whole nodeSelector, and one affinity term of several; an empty term selects nothing."""
    if any(labels.get(key) != value for key, value in shape.node_selector):
        return False
    terms = [term for term in shape.affinity if term]
    return not shape.affinity or any(all(holds(labels, one) for one in term) for term in terms)


def holds(labels: Mapping[str, str], requirement: Requirement) -> bool:
    """One affinity expression."""
    has, value = requirement.key in labels, labels.get(requirement.key, "")
    match requirement.operator:
        case "In":
            return has and value in requirement.values
        case "NotIn":
            return value not in requirement.values if has else True
        case "Exists":
            return has
        case "DoesNotExist":
            return not has
        case "Gt" | "Lt":
            return has and beyond(value, requirement)
        case _:
            return False


def beyond(value: str, requirement: Requirement) -> bool:
    """Gt and Lt over integers; anything else never matches."""
    try:
        distance = int(value) - int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    return distance > 0 if requirement.operator == "Gt" else distance < 0


def isolation_bits(
    newcomer: Presence, residents: Iterable[Presence], limit: int | None, tenants: Mapping[str, Tenant]
) -> int:
    """One bit per rule between tenants that would be broken on a node with these residents."""
    bits, everybody = 0, {newcomer, *residents}
    for resident in residents:
        bits |= neighbour_bits(newcomer, resident, tenants)
    untrusted = {who.tenant for who in everybody if tenants[who.tenant].untrusted}
    limits = [tenants[who.tenant].blast_radius for who in everybody] + [limit]
    if any(stated is not None and len(untrusted) > stated for stated in limits):
        bits |= BIT[Kind.BLAST_RADIUS]
    return bits


def neighbour_bits(one: Presence, other: Presence, tenants: Mapping[str, Tenant]) -> int:
    """One bit per rule that two pods on one node break; the order of the two does not matter."""
    bits, both = 0, ((one, other), (other, one))
    if any(tenants[host.tenant].co_residency == "exclusive" for host, _ in both):
        bits |= BIT[Kind.EXCLUSIVE]
    if one.tenant == other.tenant:
        return bits
    for host, guest in both:
        wish, stranger = tenants[host.tenant], tenants[guest.tenant]
        if stranger.untrusted and not guest.sandboxed:
            bits |= BIT[Kind.UNSANDBOXED_NEIGHBOUR]
        if guest.tenant in wish.never_with:
            bits |= BIT[Kind.NEVER_WITH]
        if wish.co_residency == "tenant-only":
            bits |= BIT[Kind.TENANT_ONLY]
        if wish.co_residency == "trusted-only" and stranger.untrusted:
            bits |= BIT[Kind.TRUSTED_ONLY]
    return bits
