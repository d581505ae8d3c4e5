"""What the scheduler asks about tenants: which runtime a pod gets, what it costs, beside whom it may stand.

The rules are those of `tenants.isolation`; this module turns them into the words of placement. A pod's own labels
decide nothing here: whoever read the pod has already said whose it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from scheduler.model import CPU, MEMORY, Amounts, Node, Reason, Shape, amounts
from tenants import isolation
from tenants.model import SANDBOX_HANDLER, CoResidency, NodeClass, RuntimeClass, TenantSet, Trust


class Presence(msgspec.Struct, frozen=True, order=True):
    """A tenant that stands on a node, on the shared kernel or behind a wall."""

    tenant: str
    sandboxed: bool


class Occupancy(msgspec.Struct, frozen=True):
    """Who stands on a node, by name, and how many untrusted tenants the node may hold (None: any number)."""

    residents: tuple[Presence, ...]
    limit: int | None


class Admission(msgspec.Struct, frozen=True):
    """What a shape becomes under its tenant's rules; `refusal` says why they forbid it outright."""

    presence: Presence | None = None
    overhead: Amounts = ()
    refusal: str = ""


class NodeRules(msgspec.Struct, frozen=True):
    """What the tenant files say of a node: whether it runs sandboxes, and its limit on untrusted tenants."""

    sandboxes: bool = True
    blast_radius: int | None = None


class Tenancy(Protocol):
    """The tenant rules as placement needs them."""

    def admit(self, shape: Shape) -> Admission:
        """Resolve runtime and overhead of a shape, or refuse it."""
        ...

    def coresidency(self, occupancy: Occupancy, newcomer: Presence) -> Reason:
        """Tell whether `newcomer` may join those who already stand on a node."""
        ...

    def claims(self, occupancy: Occupancy, newcomer: Presence) -> bool:
        """Tell whether `newcomer` would take isolation room on a node: keep others off it, or use up a slot."""
        ...

    def node_rules(self, node: Node) -> NodeRules:
        """What holds for a node."""
        ...


class SingleTenant:
    """The rules of a cluster without tenants: everybody may stand everywhere, on runc."""

    def admit(self, shape: Shape) -> Admission:
        """Admit as asked."""
        return Admission()

    def coresidency(self, occupancy: Occupancy, newcomer: Presence) -> Reason:
        """Always FITS."""
        return Reason.FITS

    def claims(self, occupancy: Occupancy, newcomer: Presence) -> bool:
        """Never."""
        return False

    def node_rules(self, node: Node) -> NodeRules:
        """No limits."""
        return NodeRules()


REASONS: Mapping[isolation.Reason, Reason] = {
    isolation.Reason.EXCLUSIVE: Reason.EXCLUSIVE,
    isolation.Reason.TENANT_ONLY: Reason.TENANT_ONLY,
    isolation.Reason.NEVER_WITH: Reason.NEVER_WITH,
    isolation.Reason.TRUSTED_ONLY: Reason.TRUSTED_ONLY,
    isolation.Reason.UNSANDBOXED_NEIGHBOUR: Reason.UNSANDBOXED_NEIGHBOUR,
    isolation.Reason.BLAST_RADIUS: Reason.BLAST_RADIUS,
}


class TenantRules:
    """The rules of a directory of tenant files."""

    def __init__(self, tenants: TenantSet) -> None:
        self.tenants = tenants
        self._pairs: dict[tuple[Presence, Presence], Reason] = {}

    def admit(self, shape: Shape) -> Admission:
        """Choose the runtime that the tenant's trust demands; the pod pays for it."""
        tenant = self.tenants.tenants.get(shape.tenant)
        if tenant is None:
            return Admission(refusal=f"UnknownTenant: no tenant {shape.tenant!r}")
        choice = isolation.choose_runtime(tenant, shape.runtime_class, self.tenants.runtime_classes)
        if isinstance(choice, isolation.Refusal):
            return Admission(refusal=f"{choice.reason}: {choice.detail}")
        return Admission(Presence(tenant.name, choice.sandboxed), overhead_of(choice.runtime_class))

    def coresidency(self, occupancy: Occupancy, newcomer: Presence) -> Reason:
        """Ask `tenants.isolation` whether the newcomer may join; about each pair only once."""
        for resident in occupancy.residents:
            reason = self._pairs.get((newcomer, resident))
            if reason is None:
                refusal = isolation.may_share(self._known(newcomer), self._known(resident))
                reason = REASONS[refusal.reason] if refusal else Reason.FITS
                self._pairs[newcomer, resident] = reason
            if reason:
                return reason
        together = [self._known(presence) for presence in (newcomer, *occupancy.residents)]
        refusal = isolation.within_blast_radius(together, occupancy.limit)
        return REASONS[refusal.reason] if refusal else Reason.FITS

    def claims(self, occupancy: Occupancy, newcomer: Presence) -> bool:
        """True for the first pod of a tenant that shares with nobody, and for one more untrusted tenant of a few."""
        if newcomer in occupancy.residents:
            return False
        tenant = self.tenants.tenants[newcomer.tenant]
        if tenant.isolation.co_residency in (CoResidency.EXCLUSIVE, CoResidency.TENANT_ONLY):
            return True
        return tenant.trust is Trust.UNTRUSTED and occupancy.limit is not None

    def _known(self, presence: Presence) -> isolation.Presence:
        return isolation.Presence(self.tenants.tenants[presence.tenant], presence.sandboxed)

    def node_rules(self, node: Node) -> NodeRules:
        """The strictest of all node classes whose labels the node carries, else the default of the files."""
        fitting = [found for found in self.tenants.node_classes.values() if covers(found, node)]
        limits = [found.blast_radius for found in fitting if found.blast_radius is not None]
        return NodeRules(
            sandboxes=all(SANDBOX_HANDLER in found.handlers for found in fitting),
            blast_radius=min(limits, default=self.tenants.blast_radius),
        )


class DeclaredRules(TenantRules):
    """The same for a live cluster, where a pod runs as it declares and nobody fills in what is missing any more."""

    def admit(self, shape: Shape) -> Admission:
        """Refuse a pod that would start on the shared kernel against its tenant's rules; one that runs is seen so."""
        tenant = self.tenants.tenants.get(shape.tenant)
        refusal = tenant and isolation.verify_runtime(
            tenant, shape.runtime_class or None, self.tenants.runtime_classes
        )
        if tenant is None or not refusal:
            return super().admit(shape)
        declared = self.tenants.runtime_classes.get(shape.runtime_class)
        sandboxed = declared is not None and declared.sandboxed
        presence = Presence(tenant.name, sandboxed)
        return Admission(presence, overhead_of(declared), f"{refusal.reason}: {refusal.detail}")


def covers(node_class: NodeClass, node: Node) -> bool:
    """Tell whether a node carries all labels of a node class."""
    return set(node_class.node_labels.items()) <= set(node.labels)


def overhead_of(runtime_class: RuntimeClass | None) -> Amounts:
    """What a RuntimeClass costs beside the pod's own requests."""
    if runtime_class is None:
        return ()
    return amounts({CPU: runtime_class.overhead_cpu_milli, MEMORY: runtime_class.overhead_memory_mib})
