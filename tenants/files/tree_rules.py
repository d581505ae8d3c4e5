"""Rules of the quota tree: no cycle, and nothing promised that is not there. Pure.

A group's guarantee includes its members': what it states beyond their sum is an extra that they borrow from,
and a group that states nothing promises what its members do. The sum of the members may therefore not exceed
it, nor what the nodes of the pool really offer. And for every pool that a tenant uses somebody on its path
must say how much CPU and memory, and any other resource that the pool offers: a missing line means
"unlimited" to some systems and "nothing" to others (docs/decisions/0202).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from tenants.files.build import shares
from tenants.files.decode import Declared
from tenants.files.kinds import PoolFile, TreeFile
from tenants.files.positions import Loc
from tenants.files.problem import Kind, Problem
from tenants.files.scalars import canonical, spellings
from tenants.model import DEFAULT_POOL, Dimension, Group, Quota, Tenant, TenantSet
from tenants.quantity import UNLIMITED, render

_ALWAYS: Final = ("cpu", "memory")
_SHOWN: Final = 8  # groups of a circle that a message names
Node = Tenant | Group


class _Tree:
    """Groups and tenants with their documents; `order` has every node behind its parent.

    A node in or below a circle is in no order, so that nothing walks for ever and the rest is still judged.
    """

    def __init__(self, declared: list[Declared], found: TenantSet) -> None:
        self.nodes: dict[str, Node] = {**found.groups, **found.tenants}
        self.sources: dict[str, Declared] = {}
        for one in declared:
            if isinstance(one.file, TreeFile):
                self.sources.setdefault(one.file.name, one)
        self.members: defaultdict[str, list[str]] = defaultdict(list)
        for name, node in self.nodes.items():
            self.members[node.parent if node.parent in self.nodes else ""].append(name)
        self.order = list(self.members[""])
        for name in self.order:  # grows while it is walked: breadth first
            self.order += self.members.get(name, [])

    def problem(
        self, name: str, loc: Loc, kind: Kind, why: str, suggestion: str = "", *, key: bool = False
    ) -> Problem:
        """A problem in the document of a node."""
        return self.sources[name].document.problem(loc, kind, why, suggestion, key=key)

    def place_of(self, name: str, dimension: Dimension) -> Loc:
        """Where a node states a dimension, whatever spelling it uses for the resource."""
        stem: Loc = ("quota", dimension.pool)
        if dimension.runtime_class:
            stem = ("runtimeQuota", dimension.pool, dimension.runtime_class)
        places = [(*stem, spelling) for spelling in spellings(dimension.resource)]
        document = self.sources[name].document
        return next((place for place in places if document.written(place) == place), stem)


def problems(declared: list[Declared], found: TenantSet) -> Iterator[Problem]:
    """Every broken rule of the tree."""
    tree = _Tree(declared, found)
    yield from _twice(declared)
    for name, node in tree.nodes.items():
        yield from _limits(tree, name, node.quota)
    yield from _cycles(tree, found)
    yield from _sums(tree, found)
    yield from _unstated(tree, found)


def _twice(declared: list[Declared]) -> Iterator[Problem]:
    for document, file, *_ in declared:
        first: dict[tuple[Dimension, str], str] = {}
        places: list[tuple[Dimension, Loc]] = []
        if isinstance(file, TreeFile):
            places = [(dimension, loc) for dimension, loc, _ in shares(file)]
        elif isinstance(file, PoolFile):
            places = [
                (Dimension(file.name, canonical(key)), ("allocatable", key)) for key in file.allocatable
            ]
        for dimension, loc in places:
            before = first.setdefault((dimension, str(loc[0])), str(loc[-1]))
            if before != loc[-1]:
                why = f"{dimension} is declared twice, first as {before!r}"
                yield document.problem(loc, Kind.QUOTA_TWICE, why, "keep one", key=True)


def _limits(tree: _Tree, name: str, quota: Quota) -> Iterator[Problem]:
    for dimension, share in quota.items():
        guaranteed = render(dimension.resource, share.guaranteed)
        place = tree.place_of(name, dimension)
        if share.max is not UNLIMITED and share.max < share.guaranteed:
            why = f"max {render(dimension.resource, share.max)} is below guaranteed {guaranteed}"
            yield tree.problem(name, (*place, "max"), Kind.MAX_UNDER_GUARANTEED, why)
        if share.lend is not UNLIMITED and share.lend > share.guaranteed:
            why = f"lends {render(dimension.resource, share.lend)} of only {guaranteed} guaranteed"
            yield tree.problem(name, (*place, "lend"), Kind.LEND_OVER_GUARANTEED, why)


def _cycles(tree: _Tree, found: TenantSet) -> Iterator[Problem]:
    seen: set[str] = set()
    for start in sorted(found.groups):
        path: dict[str, None] = {}
        name = start
        while name in found.groups and name not in seen:
            seen.add(name)
            path[name] = None
            name = found.groups[name].parent
        if name in path:
            ring = [*path][[*path].index(name) :]
            why = f"parents go round in a circle: {_chain([*ring, name])}"
            yield tree.problem(name, ("parent",), Kind.CYCLE, why, "let one of them have no parent")


def _chain(names: list[str]) -> str:
    shown = names if len(names) <= _SHOWN else [*names[: _SHOWN - 1], "…", names[-1]]
    return " -> ".join(shown)


def _sums(tree: _Tree, found: TenantSet) -> Iterator[Problem]:
    totals: defaultdict[str, Counter[Dimension]] = defaultdict(Counter)  # by parent: what its members promise
    for name in reversed(tree.order):
        node = tree.nodes[name]
        of_members, stated = totals[name], {d: share.guaranteed for d, share in node.quota.items()}
        for dimension, guaranteed in stated.items():
            if of_members[dimension] > guaranteed:
                yield _too_much(tree, name, dimension, of_members[dimension])
        totals[node.parent if node.parent in tree.nodes else ""].update({**of_members, **stated})
    for dimension, promised in totals[""].items():
        pool = found.pools.get(dimension.pool)
        offered = pool.allocatable.get(dimension.resource) if pool else None
        if offered is not None and promised > offered:
            yield _not_there(tree, dimension, promised, offered)


def _too_much(tree: _Tree, name: str, dimension: Dimension, promised: int) -> Problem:
    total = render(dimension.resource, promised)
    own = render(dimension.resource, tree.nodes[name].quota[dimension].guaranteed)
    why = f"its members are guaranteed {total} of {dimension}, it has {own}"
    fix = f"guarantee it {total}, or its members less"
    return tree.problem(name, tree.place_of(name, dimension), Kind.GUARANTEED_OVER_PARENT, why, fix)


def _not_there(tree: _Tree, dimension: Dimension, promised: int, offered: int) -> Problem:
    """At the largest statement of it that no other one above it includes."""
    level = list(tree.members[""])
    states: list[str] = []
    for name in level:  # grows while it is walked
        if dimension in tree.nodes[name].quota:
            states.append(name)
        else:
            level += tree.members.get(name, [])
    largest = max(states, key=lambda name: tree.nodes[name].quota[dimension].guaranteed)
    what, there = (render(dimension.resource, value) for value in (promised, offered))
    why = f"{what} of {dimension} is guaranteed in all, the pool offers {there}"
    place = tree.place_of(largest, dimension)
    return tree.problem(largest, place, Kind.GUARANTEED_OVER_ALLOCATABLE, why, "guarantee less")


def _unstated(tree: _Tree, found: TenantSet) -> Iterator[Problem]:
    stated: dict[str, frozenset[Dimension] | None] = {"": frozenset()}  # None: something there is broken
    for name in tree.order:
        above = stated.get(tree.nodes[name].parent)
        broken = any(tree.sources[name].lacks(field) for field in ("parent", "quota"))
        known = None if above is None or broken else above | tree.nodes[name].quota.keys()
        stated[name] = known
        if known is not None and name in found.tenants:
            yield from _gaps(tree, name, known, found)


def _gaps(tree: _Tree, name: str, stated: frozenset[Dimension], found: TenantSet) -> Iterator[Problem]:
    for pool in sorted({dimension.pool for dimension in stated} or {DEFAULT_POOL}):
        offered = found.pools[pool].allocatable if pool in found.pools else {}
        for resource in dict.fromkeys([*_ALWAYS, *offered]):
            if Dimension(pool, resource) not in stated:
                why = f"nobody states {resource} of pool {pool}, neither the tenant nor a group above it"
                fix = "write an amount, 0 for none"
                yield tree.problem(name, ("quota", pool), Kind.NOT_STATED, why, fix, key=True)
