"""Whether every running pod really has the wall that its tenant's trust demands. Pure; `audit` prints it.

Three things are compared: what the tenant file demands, which RuntimeClass the pod declares, and what its node says
it runs on (handler and guest kernel). Admission keeps the first two together; only this finds a node whose
handler is not what its name says, a pod from before the policies, or a guest that runs the host's kernel.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

import msgspec

from tenants.isolation import needs_sandbox, verify_runtime
from tenants.model import SANDBOX_HANDLER, Tenant, TenantSet
from tenants.pods import GONE, Pod

DEFAULT_HANDLER = "runc"


class State(enum.StrEnum):
    """Of one pod, worst first."""

    WRONG = "wrong"
    UNVERIFIED = "unverified"  # the node says nothing about it, or not enough
    RIGHT = "right"


class NodeFact(msgspec.Struct, frozen=True, rename="camel"):
    """What a node says of one pod: the handler of its sandbox and, inside, the kernel (`uname -r`)."""

    handler: str
    guest_kernel: str = ""
    host_kernel: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One pod; `reason` is empty if all is right."""

    state: State
    namespace: str
    pod: str
    node: str
    tenant: str
    trust: str
    declared: str
    handler: str
    reason: str = ""
    detail: str = ""


def audit(
    tenants: TenantSet, pods: Iterable[Pod], facts: Mapping[str, NodeFact] | None = None
) -> list[Finding]:
    """A finding for every pod of a tenant that is on a node, worst first; `facts` by pod UID, None = not known."""
    found = []
    for pod in pods:
        tenant = tenants.tenant_of(pod.namespace)
        if tenant is not None and pod.node and pod.phase not in GONE:
            fact = (facts or {}).get(pod.uid)
            found.append(
                _finding(tenant, pod, fact, _judged(tenants, tenant, pod, fact, known=facts is not None))
            )
    order = list(State)
    return sorted(found, key=lambda one: (order.index(one.state), one.tenant, one.namespace, one.pod))


Judgement = tuple[State, str, str]


def _judged(tenants: TenantSet, tenant: Tenant, pod: Pod, fact: NodeFact | None, *, known: bool) -> Judgement:
    """The gravest thing about one pod: what it runs on counts before what it declares."""
    if fact is not None and needs_sandbox(tenant) and fact.handler != SANDBOX_HANDLER:
        detail = f"tenant {tenant.name} needs a sandbox, and it runs on the host's kernel by {fact.handler!r}"
        return State.WRONG, "SharedKernel", detail
    refusal = verify_runtime(tenant, pod.runtime_class, tenants.runtime_classes)
    if refusal is not None:
        return State.WRONG, refusal.reason.value, refusal.detail
    declared = tenants.runtime_classes.get(pod.runtime_class)
    promised = declared.handler if declared else DEFAULT_HANDLER
    if fact is None:
        return _unseen(known=known, sandboxed=promised == SANDBOX_HANDLER)
    if fact.handler != promised:
        return State.WRONG, "HandlerDiffers", f"declared {promised!r}, runs on {fact.handler!r}"
    return _kernel(fact)


def _unseen(*, known: bool, sandboxed: bool) -> Judgement:
    if known:
        return State.UNVERIFIED, "NotReported", "its node reports nothing about it"
    return (State.UNVERIFIED, "NoNodeData", "add --node-data to verify the sandbox") if sandboxed else _RIGHT


_RIGHT: Judgement = (State.RIGHT, "", "")


def _kernel(fact: NodeFact) -> Judgement:
    if fact.handler != SANDBOX_HANDLER:
        return _RIGHT
    if not fact.guest_kernel:
        return State.UNVERIFIED, "NoGuestKernel", "its node does not say which kernel runs inside"
    if fact.guest_kernel == fact.host_kernel:
        return State.WRONG, "SameKernel", f"guest and host both run kernel {fact.guest_kernel}"
    return _RIGHT


def _finding(tenant: Tenant, pod: Pod, fact: NodeFact | None, judged: Judgement) -> Finding:
    state, reason, detail = judged
    return Finding(
        state=state,
        namespace=pod.namespace,
        pod=pod.name,
        node=pod.node,
        tenant=tenant.name,
        trust=tenant.trust.value,
        declared=pod.runtime_class,
        handler=fact.handler if fact else "",
        reason=reason,
        detail=detail,
    )
