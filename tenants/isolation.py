"""Trust x runtime x neighbours: which runtime a pod gets, and who may stand beside whom on a node. Pure.

The scheduler asks before it places and again before it binds; the manifests turn the same rules into
admission policies. Answers are values: None (allowed), a `Choice`, or a `Refusal` that carries the names and
numbers that decided. Nothing here looks at free capacity.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import assert_never

import msgspec

from tenants.model import CoResidency, Runtime, RuntimeClass, Tenant, Trust


class Reason(enum.StrEnum):
    """Why a runtime or a neighbour is refused."""

    SANDBOX_REQUIRED = "SandboxRequired"
    RUNC_REQUIRED = "RuncRequired"
    UNKNOWN_RUNTIME_CLASS = "UnknownRuntimeClass"
    NO_SANDBOX_CLASS = "NoSandboxClass"
    UNSANDBOXED_NEIGHBOUR = "UnsandboxedNeighbour"
    NEVER_WITH = "NeverWith"
    EXCLUSIVE = "Exclusive"
    TENANT_ONLY = "TenantOnly"
    TRUSTED_ONLY = "TrustedOnly"
    BLAST_RADIUS = "BlastRadius"


class Refusal(msgspec.Struct, frozen=True):
    """A reason code and one sentence with what decided."""

    reason: Reason
    detail: str


class Choice(msgspec.Struct, frozen=True):
    """The runtime of a pod; `runtime_class` None = none named, the node's default handler (runc)."""

    runtime_class: RuntimeClass | None

    @property
    def sandboxed(self) -> bool:
        """Whether the pod gets a kernel of its own."""
        return self.runtime_class is not None and self.runtime_class.sandboxed


class Presence(msgspec.Struct, frozen=True):
    """A tenant on a node: what a neighbour meets."""

    tenant: Tenant
    sandboxed: bool


Classes = Mapping[str, RuntimeClass]


def needs_sandbox(tenant: Tenant) -> bool:
    """An untrusted tenant always; a trusted one when its file says so."""
    return tenant.trust is Trust.UNTRUSTED or tenant.isolation.runtime is Runtime.BULKHEAD


def choose_runtime(tenant: Tenant, asked: str | None, classes: Classes) -> Choice | Refusal:
    """Runtime for a pod that asks for RuntimeClass `asked` (None or "" = says nothing)."""
    if not asked:
        return _default_runtime(tenant, classes)
    chosen = classes.get(asked)
    if chosen is None:
        known = ", ".join(sorted(classes)) or "none"
        return Refusal(Reason.UNKNOWN_RUNTIME_CLASS, f"no RuntimeClass {asked!r}; there are: {known}")
    if needs_sandbox(tenant) and not chosen.sandboxed:
        return _sandbox_required(tenant, f"RuntimeClass {asked!r} runs on {chosen.handler!r}")
    if tenant.isolation.runtime is Runtime.RUNC and chosen.sandboxed:
        return Refusal(Reason.RUNC_REQUIRED, f"tenant {tenant.name} runs on runc, {asked!r} is a sandbox")
    return Choice(chosen)


def verify_runtime(tenant: Tenant, declared: str | None, classes: Classes) -> Refusal | None:
    """Whether a pod may run as declared: without a class it would start on the shared kernel."""
    if not declared and needs_sandbox(tenant):
        return _sandbox_required(tenant, "the pod names no RuntimeClass")
    verdict = choose_runtime(tenant, declared, classes)
    return verdict if isinstance(verdict, Refusal) else None


def may_share(one: Presence, other: Presence) -> Refusal | None:
    """Whether two pods may stand on one node. Symmetric: the order of the two changes nothing."""
    first, second = sorted((one, other), key=lambda presence: (presence.tenant.name, presence.sandboxed))
    same = first.tenant.name == second.tenant.name
    for host, guest in ((first, second), (second, first)):
        refusal = _accepts(host.tenant, guest, same=same)
        if refusal is not None:
            return refusal
    return None


def may_join(
    newcomer: Presence, residents: Iterable[Presence], node_limit: int | None = None
) -> Refusal | None:
    """Whether a pod may join those on a node that holds at most `node_limit` untrusted tenants."""
    everybody = [newcomer]
    for resident in residents:
        refusal = may_share(newcomer, resident)
        if refusal is not None:
            return refusal
        everybody.append(resident)
    return within_blast_radius(everybody, node_limit)


def within_blast_radius(everybody: Iterable[Presence], node_limit: int | None = None) -> Refusal | None:
    """Whether a node may hold as many untrusted tenants as stand there together."""
    everybody = list(everybody)
    untrusted = sorted({p.tenant.name for p in everybody if p.tenant.trust is Trust.UNTRUSTED})
    limits = {p.tenant.isolation.blast_radius: p.tenant.name for p in everybody} | {node_limit: "the node"}
    stated = {limit: who for limit, who in limits.items() if limit is not None}
    if not stated or len(untrusted) <= min(stated):
        return None
    limit = min(stated)
    return Refusal(
        Reason.BLAST_RADIUS,
        f"{len(untrusted)} untrusted tenants ({', '.join(untrusted)}) where {stated[limit]} allows {limit}",
    )


def _default_runtime(tenant: Tenant, classes: Classes) -> Choice | Refusal:
    if not needs_sandbox(tenant):
        return Choice(None)
    sandboxes = sorted(name for name, found in classes.items() if found.sandboxed)
    if not sandboxes:
        return Refusal(
            Reason.NO_SANDBOX_CLASS, f"tenant {tenant.name} needs a sandbox and no RuntimeClass has one"
        )
    return Choice(classes[sandboxes[0]])


def _sandbox_required(tenant: Tenant, fact: str) -> Refusal:
    cause = "untrusted" if tenant.trust is Trust.UNTRUSTED else "set to runtime bulkhead"
    return Refusal(Reason.SANDBOX_REQUIRED, f"tenant {tenant.name} is {cause} and {fact}")


def _accepts(host: Tenant, guest: Presence, *, same: bool) -> Refusal | None:
    """Whether `host` accepts `guest` as neighbour; `same` = both belong to one tenant."""
    wish, names = host.isolation.co_residency, f"{host.name} and {guest.tenant.name}"
    if wish is CoResidency.EXCLUSIVE:
        return Refusal(Reason.EXCLUSIVE, f"each pod of {host.name} has a node of its own ({names})")
    if same:
        return None
    if guest.tenant.trust is Trust.UNTRUSTED and not guest.sandboxed:
        return Refusal(
            Reason.UNSANDBOXED_NEIGHBOUR, f"untrusted {guest.tenant.name} is not sandboxed ({names})"
        )
    if guest.tenant.name in host.isolation.never_with:
        return Refusal(Reason.NEVER_WITH, f"{host.name} never shares with {guest.tenant.name}")
    return _accepts_stranger(host, guest.tenant, wish)


def _accepts_stranger(host: Tenant, guest: Tenant, wish: CoResidency) -> Refusal | None:
    match wish:
        case CoResidency.TENANT_ONLY:
            return Refusal(
                Reason.TENANT_ONLY, f"nodes of {host.name} hold no other tenant, here {guest.name}"
            )
        case CoResidency.TRUSTED_ONLY if guest.trust is Trust.UNTRUSTED:
            return Refusal(
                Reason.TRUSTED_ONLY, f"{host.name} accepts trusted neighbours, {guest.name} is untrusted"
            )
        case CoResidency.TRUSTED_ONLY | CoResidency.SHARED | CoResidency.EXCLUSIVE:
            return None
    assert_never(wish)
