"""May this charge stand on its node? Asked of the shared ledger, within the step that reserves. Pure.

The arrays know the same and more, but only of this replica; what another one lets through at the same moment is seen
in the ledger alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scheduler.model import Node, Reason
from scheduler.placement.tenancy import DeclaredRules, Occupancy, Presence
from tenants.ledger.answer import Reason as Refusal
from tenants.ledger.answer import Refused
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge
from tenants.model import TenantSet

Guard = Callable[[Ledger, Charge], Refused | None]


def guard_of(tenants: TenantSet, nodes: Mapping[str, Node]) -> Guard:
    """The guard under one set of tenant files; `nodes` is read when it is asked."""
    rules = DeclaredRules(tenants)
    classes = tenants.runtime_classes

    def presence(charge: Charge) -> Presence | None:
        known = classes.get(charge.runtime_class)
        return (
            Presence(charge.tenant, known is not None and known.sandboxed)
            if charge.tenant in tenants.tenants
            else None
        )

    def guard(ledger: Ledger, charge: Charge) -> Refused | None:
        newcomer, node = presence(charge), nodes.get(charge.node)
        if newcomer is None or node is None:
            return None
        others = ledger.uids_on.get(charge.node, set()) - {charge.uid}
        found = {presence(ledger.entries[uid].charge) for uid in others}
        residents = tuple(sorted(one for one in found if one is not None))
        occupancy = Occupancy(residents, rules.node_rules(node).blast_radius)
        reason = rules.coresidency(occupancy, newcomer)
        if reason is Reason.FITS:
            return None
        names = ", ".join(sorted({one.tenant for one in residents})) or "nobody"
        detail = f"{reason.code} on node {charge.node}, where {names} stands"
        return Refused(charge.uid, charge.tenant, Refusal.NEIGHBOURS, detail=detail)

    return guard
