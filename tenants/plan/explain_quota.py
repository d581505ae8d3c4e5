"""A tenant's quota in the tree: what each level states, what is used, what is left and who decides. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from tenants import pods as running
from tenants.files.positions import Loc
from tenants.files.scalars import canonical
from tenants.model import Dimension, TenantSet
from tenants.plan.places import Places
from tenants.plan.share import Node, path, stand
from tenants.pods import Pod
from tenants.quantity import UNLIMITED, Limit, render

Usage = Mapping[Dimension, Mapping[str, int]]


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


def usage_of(tenants: TenantSet, pods: Iterable[Pod]) -> Usage:
    """What each tenant's pods use of every dimension that somebody states."""
    nodes: list[Node] = [*tenants.groups.values(), *tenants.tenants.values()]
    dimensions = {dimension for node in nodes for dimension in node.quota}
    sandboxed = running.sandbox_classes(tenants)
    found: dict[Dimension, dict[str, int]] = {dimension: {} for dimension in dimensions}
    for pod in pods:
        owner = tenants.tenant_of(pod.namespace)
        if owner is None:
            continue
        for dimension, used in found.items():
            used[owner.name] = used.get(owner.name, 0) + running.charge(pod, dimension, sandboxed)
    return found


def explain(tenants: TenantSet, name: str, used: Usage, places: Places) -> list[Explained]:
    """Every dimension that the tenant or a group above it states."""
    dimensions = {dimension for node in path(tenants, name) for dimension in node.quota}
    return [
        _one(tenants, name, dimension, used.get(dimension, {}), places) for dimension in sorted(dimensions)
    ]


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


def _one(
    tenants: TenantSet, name: str, dimension: Dimension, used: Mapping[str, int], places: Places
) -> Explained:
    found = stand(tenants, name, dimension, used)
    steps = tuple(
        Step(
            name=level.name,
            stated=level.stated,
            guaranteed=_spell(dimension, level.share.guaranteed),
            max=_spell(dimension, level.share.max),
            lend=_spell(dimension, level.share.lend),
            weight=level.share.weight,
            used=_spell(dimension, level.used),
            place=places.of(level.name, *_loc(places, level.name, dimension)) if level.stated else "",
        )
        for level in found.levels
    )
    decides = "" if found.room is UNLIMITED else found.decides or f"pool {dimension.pool}"
    return Explained(
        tenant=name,
        dimension=str(dimension),
        path=steps,
        available=_spell(dimension, found.room),
        decides=decides,
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
