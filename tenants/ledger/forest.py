"""The tenant tree with one `Tree` of quota per dimension. Pure; built by the ledger on every change of quota.

`Quotas` is what a ledger must know of the tenant files: a canonical value (equal content, equal value) that the
scheduler's store keeps, so that every process decides by the same tree. Capacity comes from the Pool documents, or
from whoever watches the nodes; where neither knows a resource of a pool, the pool does not bound it and the nodes
themselves do (docs/decisions/0210).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from tenants.errors import LedgerError
from tenants.ledger.charge import COUNTS, Charge
from tenants.ledger.tree import ROOT, Tree
from tenants.model import Allowance, Dimension, Group, Tenant, TenantSet
from tenants.quantity import UNLIMITED

Capacity = Mapping[tuple[str, str], int]  # (pool, resource) -> what its nodes offer


class QuotaNode(msgspec.Struct, frozen=True, order=True):
    """A tenant (a leaf) or a group, as far as quota goes."""

    name: str
    parent: str
    tenant: bool
    reclaim: bool
    fence: bool
    quota: tuple[tuple[Dimension, Allowance], ...]


class Quotas(msgspec.Struct, frozen=True):
    """All nodes sorted by name, and what the pools offer where that is known."""

    nodes: tuple[QuotaNode, ...] = ()
    offered: tuple[tuple[str, str, int], ...] = ()


def quotas_of(tenants: TenantSet, capacity: Capacity | None = None) -> Quotas:
    """What the ledger needs of `tenants`; `capacity` (seen on the nodes) wins over what Pool documents state."""
    offered = {
        (pool.name, resource): amount
        for pool in tenants.pools.values()
        for resource, amount in pool.allocatable.items()
    }
    offered.update(capacity or {})
    everybody: list[Tenant | Group] = [*tenants.groups.values(), *tenants.tenants.values()]
    nodes = [_node(node) for node in everybody]
    return Quotas(
        nodes=tuple(sorted(nodes, key=lambda node: node.name)),
        offered=tuple(sorted((pool, resource, amount) for (pool, resource), amount in offered.items())),
    )


class Line(NamedTuple):
    """One dimension that a charge touches: which of its amounts goes into which tree.

    `limits` is false for a count or a class that nobody on the path states.
    """

    dimension: Dimension
    tree: Tree
    amount: int  # index into the charge's amounts
    limits: bool


class Route(NamedTuple):
    """What all charges of a tenant for the same resources touch, found once."""

    leaf: int
    lines: tuple[Line, ...]
    unstated: tuple[tuple[Dimension, int], ...]  # asked for, but stated by nobody between tenant and root


class Forest:
    """Numbers the nodes, parents first (ROOT is the pool), and finds the trees that a charge touches.

    Raises:
        LedgerError: a parent that does not exist, parents in a circle, or two nodes of one name.
    """

    __slots__ = ("_routes", "members", "names", "nodes", "number_of", "paths", "stated", "trees")

    def __init__(self, quotas: Quotas) -> None:
        self.nodes: list[QuotaNode | None] = [None, *_parents_first(quotas.nodes)]
        self.names = [node.name if node else "" for node in self.nodes]
        self.number_of = {name: number for number, name in enumerate(self.names)}
        self.paths = self._paths()
        self.members: list[list[int]] = [[] for _ in self.nodes]
        for number, node in enumerate(self.nodes):
            if node is not None:
                self.members[self.number_of[node.parent]].append(number)
        self.stated = self._stated()
        self._routes: dict[tuple[str, str, str, tuple[str, ...]], Route] = {}
        self.trees = self._trees({(pool, resource): amount for pool, resource, amount in quotas.offered})

    def leaf(self, tenant: str) -> int:
        """Number of a tenant; ROOT for one that is gone, whose pods then take from the pool alone."""
        number = self.number_of.get(tenant, ROOT)
        node = self.nodes[number]
        return number if node and node.tenant else ROOT

    def route(self, charge: Charge) -> Route:
        """Where `charge` goes."""
        resources = tuple([resource for resource, _ in charge.amounts])
        key = (charge.tenant, charge.pool, charge.runtime_class, resources)
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = self._find_route(*key)
        return route

    def _find_route(self, tenant: str, pool: str, runtime_class: str, resources: tuple[str, ...]) -> Route:
        leaf = self.leaf(tenant)
        known = self.stated[leaf]
        plain = [(Dimension(pool, resource), index) for index, resource in enumerate(resources)]
        classed = [
            (one._replace(runtime_class=runtime_class), index) for one, index in plain if runtime_class
        ]
        asked = [(one, index) for one, index in plain if one.resource not in COUNTS]
        lines = [
            Line(one, self.trees[one], index, one in known or (one, index) in asked)
            for one, index in (*plain, *classed)
            if one in self.trees
        ]
        return Route(leaf, tuple(lines), tuple(pair for pair in asked if pair[0] not in known))

    def _paths(self) -> list[tuple[int, ...]]:
        paths: list[tuple[int, ...]] = []
        for number, node in enumerate(self.nodes):
            paths.append((*paths[self.number_of[node.parent]], number) if node else ())
        return paths

    def _stated(self) -> list[frozenset[Dimension]]:
        own = [
            frozenset(dimension for dimension, _ in node.quota) if node else frozenset()
            for node in self.nodes
        ]
        return [frozenset().union(*(own[step] for step in path)) for path in self.paths]

    def _trees(self, offered: Capacity) -> dict[Dimension, Tree]:
        allowances: defaultdict[Dimension, list[Allowance | None]] = defaultdict(
            lambda: [None] * len(self.nodes)
        )
        for number, node in enumerate(self.nodes):
            for dimension, allowance in node.quota if node else ():
                allowances[dimension][number] = allowance
        return {
            dimension: Tree(self.paths, stated, offered.get((dimension.pool, dimension.resource), UNLIMITED))
            for dimension, stated in sorted(allowances.items())
        }


def _node(node: Tenant | Group) -> QuotaNode:
    return QuotaNode(
        name=node.name,
        parent=node.parent,
        tenant=isinstance(node, Tenant),
        reclaim=not isinstance(node, Tenant) or node.reclaim,
        fence=node.fence,
        quota=tuple(sorted(node.quota.items())),
    )


def _parents_first(nodes: tuple[QuotaNode, ...]) -> list[QuotaNode]:
    members: defaultdict[str, list[QuotaNode]] = defaultdict(list)
    for node in nodes:
        members[node.parent].append(node)
    ordered = list(members[""])
    for node in ordered:  # grows while it is walked
        ordered += [] if node.tenant else members[node.name]
    if len({node.name for node in ordered}) < len(nodes):
        lost = sorted({node.name for node in nodes} - {node.name for node in ordered}) or [
            "a name given twice"
        ]
        raise LedgerError(f"no path from the root to: {', '.join(lost)} (unknown group above, or a circle)")
    return ordered
