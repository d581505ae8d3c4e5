"""Rules of the quota tree: no cycle, and nothing promised that is not there. Pure.

A group's guarantee includes its members': what it states beyond their sum is an extra that they borrow from.
The sum of the members may therefore not exceed it, nor what the nodes of the pool really offer. And for every
pool that a tenant uses somebody on its path must say how much CPU and memory, and any other resource that the
pool offers: a missing line means "unlimited" to some systems and "nothing" to others (docs/decisions/0202).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from tenants.files.build import Amounts
from tenants.files.decode import Declared
from tenants.files.kinds import TreeFile
from tenants.files.positions import Document, Loc
from tenants.files.problem import Kind, Problem
from tenants.model import DEFAULT_POOL, Allowance, Dimension, Group, Quota, Tenant, TenantSet
from tenants.quantity import UNLIMITED, render

_ALWAYS = ("cpu", "memory")
Members = Mapping[str, list[str]]


def problems(declared: list[Declared], found: TenantSet) -> Iterator[Problem]:
    """Every broken rule of the tree; sums are only checked once the tree is one."""
    documents = {file.name: document for document, file in reversed(declared) if isinstance(file, TreeFile)}
    nodes: dict[str, Tenant | Group] = {**found.groups, **found.tenants}
    for name, node in nodes.items():
        yield from _order(documents[name], node.quota)
    cycles = list(_cycles(documents, found))
    yield from cycles
    if not cycles:
        members: defaultdict[str, list[str]] = defaultdict(list)
        for name, node in nodes.items():
            members[node.parent].append(name)
        yield from _sums(documents, nodes, members, found)
        for tenant in found.tenants.values():
            yield from _unstated(documents[tenant.name], tenant, found)


def place_of(document: Document, dimension: Dimension) -> Loc:
    """Where a document states a dimension, whatever spelling it uses for the resource."""
    stem: Loc = ("quota", dimension.pool)
    if dimension.runtime_class:
        stem = ("runtimeQuota", dimension.pool, dimension.runtime_class)
    silent = Amounts(document, [])
    for loc in document.keys:
        if (
            len(loc) == len(stem) + 1
            and loc[:-1] == stem
            and silent.resource(loc, str(loc[-1])) == dimension.resource
        ):
            return loc
    return stem


def _order(document: Document, quota: Quota) -> Iterator[Problem]:
    for dimension, share in quota.items():
        guaranteed = render(dimension.resource, share.guaranteed)
        if share.max is not UNLIMITED and share.max < share.guaranteed:
            why = f"max {render(dimension.resource, share.max)} is below guaranteed {guaranteed}"
            yield document.problem((*place_of(document, dimension), "max"), Kind.MAX_UNDER_GUARANTEED, why)
        if share.lend is not UNLIMITED and share.lend > share.guaranteed:
            why = f"lends {render(dimension.resource, share.lend)} of only {guaranteed} guaranteed"
            yield document.problem((*place_of(document, dimension), "lend"), Kind.LEND_OVER_GUARANTEED, why)


def _cycles(documents: Mapping[str, Document], found: TenantSet) -> Iterator[Problem]:
    reported: set[str] = set()
    for start in sorted(found.groups):
        path: list[str] = []
        name = start
        while name in found.groups and name not in path and name not in reported:
            path.append(name)
            name = found.groups[name].parent
        if name in path:
            ring = path[path.index(name) :]
            reported.update(ring)
            why = f"parents go round in a circle: {' -> '.join([*ring, name])}"
            yield documents[name].problem(("parent",), Kind.CYCLE, why, "let one of them have no parent")


def _sums(
    documents: Mapping[str, Document], nodes: Mapping[str, Tenant | Group], members: Members, found: TenantSet
) -> Iterator[Problem]:
    for group in found.groups.values():
        totals = _totals([nodes[name] for name in members.get(group.name, [])])
        for dimension, promised in totals.items():
            stated = group.quota.get(dimension)
            if stated is not None and _over(promised, stated):
                yield _too_much(documents[group.name], dimension, promised, stated)
    tops = [name for name in members.get("", []) if name in nodes]
    for dimension, promised in _totals([nodes[name] for name in tops]).items():
        pool = found.pools.get(dimension.pool)
        offered = pool.allocatable.get(dimension.resource) if pool else None
        if offered is not None and promised > offered:
            largest = max(tops, key=lambda name: _guaranteed(nodes[name], dimension))
            what = render(dimension.resource, promised)
            there = render(dimension.resource, offered)
            why = f"{what} of {dimension} is guaranteed in all, the pool offers {there}"
            loc = place_of(documents[largest], dimension)
            yield documents[largest].problem(loc, Kind.GUARANTEED_OVER_ALLOCATABLE, why)


def _guaranteed(node: Tenant | Group, dimension: Dimension) -> int:
    stated = node.quota.get(dimension)
    return stated.guaranteed if stated else 0


def _totals(nodes: list[Tenant | Group]) -> dict[Dimension, int]:
    totals: defaultdict[Dimension, int] = defaultdict(int)
    for node in nodes:
        for dimension, share in node.quota.items():
            totals[dimension] += share.guaranteed
    return totals


def _over(promised: int, stated: Allowance) -> bool:
    return promised > stated.guaranteed or (stated.max is not UNLIMITED and promised > stated.max)


def _too_much(document: Document, dimension: Dimension, promised: int, stated: Allowance) -> Problem:
    total, own = (render(dimension.resource, value) for value in (promised, stated.guaranteed))
    why = f"its members are guaranteed {total} of {dimension}, it has {own}"
    return document.problem(place_of(document, dimension), Kind.GUARANTEED_OVER_PARENT, why)


def _unstated(document: Document, tenant: Tenant, found: TenantSet) -> Iterator[Problem]:
    stated = set(tenant.quota)
    parent = tenant.parent
    while parent in found.groups:
        stated.update(found.groups[parent].quota)
        parent = found.groups[parent].parent
    for pool in sorted({dimension.pool for dimension in stated} or {DEFAULT_POOL}):
        offered = found.pools[pool].allocatable if pool in found.pools else {}
        for resource in dict.fromkeys([*_ALWAYS, *offered]):
            if Dimension(pool, resource) not in stated:
                why = f"nobody states {resource} of pool {pool}, neither the tenant nor a group above it"
                yield document.problem(("quota", pool), Kind.NOT_STATED, why, "write an amount, 0 for none")
