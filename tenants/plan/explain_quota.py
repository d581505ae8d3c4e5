"""A tenant's quota in the tree: what each level states, what is used, what is left and who decides. Pure.

`tenants.ledger` owns the algebra; here its answer gets the words and the lines of the tenant files.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tenants import pods as running
from tenants.files.positions import Loc
from tenants.files.scalars import canonical
from tenants.ledger.book import Ledger
from tenants.ledger.charge import SANDBOXES, Charge, cost
from tenants.ledger.forest import Forest, QuotaNode
from tenants.ledger.tree import NOTHING_STATED, ROOT, Tree
from tenants.model import Dimension, TenantSet
from tenants.plan.places import Places
from tenants.pods import GONE, Pod
from tenants.quantity import UNLIMITED, Limit, render


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One level of the path, the tenant first; amounts as quantities."""

    name: str
    stated: bool
    guaranteed: str
    max: str
    lend: str
    weight: int
    used: str
    place: str


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One dimension; `available` is `unlimited` where nothing bounds it, `decides` the node that does."""

    tenant: str
    dimension: str
    path: tuple[Step, ...]
    available: str
    decides: str


def ledger_of(tenants: TenantSet, pods: Iterable[Pod]) -> Ledger:
    """The ledger as it stands when `pods` run: those of tenants, and not over."""
    ledger, sandboxed = Ledger.from_tenants(tenants), running.sandbox_classes(tenants)
    for pod in pods:
        owner = tenants.tenant_of(pod.namespace)
        if owner is not None and pod.phase not in GONE:
            ledger.record(_charge(pod, owner.name, pod.runtime_class in sandboxed))
    return ledger


def explain(ledger: Ledger, name: str, places: Places) -> list[Explained]:
    """Every dimension that the tenant or a group above it states."""
    forest = ledger.forest
    leaf = forest.leaf(name)
    return [_one(forest, leaf, dimension, places) for dimension in sorted(forest.stated[leaf])]


def text(found: list[Explained]) -> str:
    """For people."""
    lines: list[str] = []
    for one in found:
        by = f", decided by {one.decides}" if one.decides else ""
        lines.append(f"{one.dimension} of tenant {one.tenant}: {one.available} available{by}")
        for depth, step in enumerate(one.path):
            said = (f"guaranteed {step.guaranteed}, max {step.max}, lends {step.lend}, weight {step.weight}"
                    if step.stated else "says nothing")  # fmt: skip
            at = f" ({step.place})" if step.place else ""
            lines.append(f"  {'  ' * depth}{step.name}: uses {step.used}; {said}{at}")
    return "\n".join(lines) + "\n"


def _charge(pod: Pod, tenant: str, sandboxed: bool) -> Charge:
    """`requests` hold the overhead already; a pod that was never on a server has no UID."""
    return Charge(
        uid=pod.uid or pod.key,
        tenant=tenant,
        amounts=cost({**pod.requests, SANDBOXES: int(sandboxed)}),
        pool=pod.pool,
        runtime_class=pod.runtime_class,
    )


def _one(forest: Forest, leaf: int, dimension: Dimension, places: Places) -> Explained:
    tree = forest.trees[dimension]
    room = tree.available(leaf)
    bounded = tree.bounded or room.node != ROOT
    path = [(number, node) for number in reversed(forest.paths[leaf]) if (node := forest.nodes[number])]
    return Explained(
        tenant=forest.names[leaf],
        dimension=str(dimension),
        path=tuple(_step(tree, number, node, dimension, places) for number, node in path),
        available=_spell(dimension, room.amount if bounded else UNLIMITED),
        decides=(forest.names[room.node] or f"pool {dimension.pool}") if bounded else "",
    )


def _step(tree: Tree, number: int, node: QuotaNode, dimension: Dimension, places: Places) -> Step:
    stated = dict(node.quota).get(dimension)
    share = stated or NOTHING_STATED
    return Step(
        name=node.name,
        stated=stated is not None,
        guaranteed=_spell(dimension, share.guaranteed),
        max=_spell(dimension, share.max),
        lend=_spell(dimension, share.lend),
        weight=share.weight,
        used=_spell(dimension, tree.total(number)),
        place=places.of(node.name, *_loc(places, node.name, dimension)) if stated else "",
    )


def _loc(places: Places, name: str, dimension: Dimension) -> Loc:
    """Where its file states the dimension, whatever spelling it uses for the resource."""
    document = places.document(name)
    stem: Loc = ("quota", dimension.pool)
    if dimension.runtime_class:
        stem = ("runtimeQuota", dimension.pool, dimension.runtime_class)
    stated = document.value if document else {}
    for step in stem:
        stated = stated.get(step) or {}
    return next(((*stem, written) for written in stated if canonical(written) == dimension.resource), stem)


def _spell(dimension: Dimension, value: Limit) -> str:
    if value is UNLIMITED:
        return "unlimited"
    return render(dimension.resource, value) if value >= 0 else f"-{render(dimension.resource, -value)}"
