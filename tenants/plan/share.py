"""Where a tenant stands in the quota tree of one dimension: its path, and what it may still take and why. Pure.

`explain quota` prints it. Computed from the model and a table of usage alone, for a node n with members c (the
algebra of Kueue's cohorts, where a group's guarantee includes its members'):

    guaranteed(n) = max(stated, sum of guaranteed(c))
    subtree(n)    = guaranteed(n) - local of all below n
    local(n)      = max(0, subtree(n) - lend(n)); 0 where everything may be lent
    usage(n)      = own use + sum of max(0, usage(c) - local(c))
    room(n)       = max(0, local - usage) + min(room(parent), subtree - max(local, usage) + max - guaranteed)

The root is the pool: it bounds by what its nodes offer, where a Pool document says so. Negative room is a node
that holds more than it may, for example after its max was lowered.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tenants.model import Allowance, Dimension, Group, Tenant, TenantSet
from tenants.quantity import UNLIMITED, Limit

Node = Tenant | Group


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One node on the path; `used` counts everything below it, `room` what may be taken through it."""

    name: str
    share: Allowance
    stated: bool
    used: int
    room: Limit


class Stand(msgspec.Struct, frozen=True, kw_only=True):
    """The path from the tenant up, its room, and the node whose limit decides ("" = the pool itself)."""

    levels: tuple[Level, ...]
    room: Limit
    decides: str


class _Figures(msgspec.Struct, frozen=True):
    """Of one node: all that the formulas name."""

    guaranteed: int
    subtree: int
    local: int
    kept: int  # by it and all below it, out of what it guarantees
    usage: int
    used: int


def path(tenants: TenantSet, name: str) -> list[Node]:
    """The tenant and the groups above it; a cycle, which the loader refuses, ends the path."""
    found: list[Node] = [tenants.tenants[name]]
    while (parent := tenants.groups.get(found[-1].parent)) is not None and parent not in found:
        found.append(parent)
    return found


def stand(tenants: TenantSet, name: str, dimension: Dimension, used: Mapping[str, int]) -> Stand:
    """Where the tenant stands when each tenant uses `used` of the dimension."""
    room, decides = _pool_room(tenants, dimension, used)
    levels: list[Level] = []
    for node in reversed(path(tenants, name)):
        share, found = node.quota.get(dimension, Allowance()), _figures(tenants, node, dimension, used)
        if share.max is not UNLIMITED:
            own = found.subtree - max(found.local, found.usage) + share.max - found.guaranteed
            if room is UNLIMITED or own < room:
                room, decides = own, node.name
        if room is not UNLIMITED and found.usage < found.local:
            room = found.local - found.usage + max(0, room)
        stated = dimension in node.quota
        levels.append(Level(name=node.name, share=share, stated=stated, used=found.used, room=room))
    return Stand(levels=tuple(reversed(levels)), room=room, decides=decides)


def _pool_room(tenants: TenantSet, dimension: Dimension, used: Mapping[str, int]) -> tuple[Limit, str]:
    pool = tenants.pools.get(dimension.pool)
    if pool is None or dimension.resource not in pool.allocatable:
        return UNLIMITED, ""
    top = [_figures(tenants, node, dimension, used) for node in _members(tenants, "")]
    free = pool.allocatable[dimension.resource] - sum(found.kept for found in top)
    return free - sum(max(0, found.usage - found.local) for found in top), ""


def _members(tenants: TenantSet, parent: str) -> list[Node]:
    everybody: list[Node] = [*tenants.groups.values(), *tenants.tenants.values()]
    return [node for node in everybody if node.parent == parent]


def _figures(tenants: TenantSet, node: Node, dimension: Dimension, used: Mapping[str, int]) -> _Figures:
    share = node.quota.get(dimension, Allowance())
    members = [] if isinstance(node, Tenant) else _members(tenants, node.name)
    below = [_figures(tenants, member, dimension, used) for member in members]
    guaranteed = max(share.guaranteed, sum(found.guaranteed for found in below))
    inside = sum(found.kept for found in below)
    subtree = guaranteed - inside
    local = 0 if share.lend is UNLIMITED else max(0, subtree - share.lend)
    own = used.get(node.name, 0) if isinstance(node, Tenant) else 0
    usage = own + sum(max(0, found.usage - found.local) for found in below)
    total = own + sum(found.used for found in below)
    return _Figures(guaranteed, subtree, local, local + inside, usage, total)
