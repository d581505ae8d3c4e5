"""Builders of charges and tenant trees, random ones too, and the quota algebra once more to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from tenants.ledger.answer import Admitted
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge
from tenants.model import Allowance, Dimension, Group, Pool, Quota, Tenant, TenantSet
from tenants.quantity import UNLIMITED, Limit
from tests.support.tenants import cpu, make_tenant

CPU = Dimension("default", "cpu")
MEMORY = Dimension("default", "memory")
LENDER = make_tenant("lender", quota=cpu(10, lend=4))
BORROWER = make_tenant("borrower", quota=cpu(2))
CAPPED = make_tenant("a", quota=cpu(4, max=6))


def make_charge(
    uid: str = "pod",
    tenant: str = "a",
    *,
    priority: int = 0,
    application: str = "",
    born: int = 0,
    runtime_class: str = "",
    pool: str = "default",
    **amounts: int,
) -> Charge:
    """A charge of 1 milli-CPU unless said otherwise."""
    return Charge(
        uid=uid,
        tenant=tenant,
        amounts=tuple(sorted((name, amount) for name, amount in (amounts or {"cpu": 1}).items() if amount)),
        pool=pool,
        runtime_class=runtime_class,
        priority=priority,
        application=application,
        born=born,
    )


def make_group(name: str, quota: Quota | None = None, *, parent: str = "", fence: bool = False) -> Group:
    """A group at the root unless said otherwise."""
    return Group(name=name, parent=parent, quota=quota or {}, fence=fence)


def make_set(*nodes: Tenant | Group, offered: Mapping[str, int] | None = None) -> TenantSet:
    """Tenants and groups; `offered` is what the default pool has."""
    return TenantSet(
        tenants={node.name: node for node in nodes if isinstance(node, Tenant)},
        groups={node.name: node for node in nodes if isinstance(node, Group)},
        pools={"default": Pool(name="default", allocatable=offered)} if offered is not None else {},
    )


def make_ledger(*nodes: Tenant | Group, offered: Mapping[str, int] | None = None) -> Ledger:
    """An empty ledger."""
    return Ledger.from_tenants(make_set(*nodes, offered=offered))


def admitted(ledger: Ledger, tenant: str, amount: int, uid: str = "") -> bool:
    """Whether a pod of `amount` milli-CPU is admitted."""
    return isinstance(ledger.admit(make_charge(uid or f"{tenant}+{amount}", tenant, cpu=amount)), Admitted)


def fill(ledger: Ledger, tenant: str, count: int, *, each: int = 1, priority: int = 0, born: int = 0) -> None:
    """`count` pods of `each` milli-CPU, admitted, named tenant-0, tenant-1 and so on, the last one the newest."""
    for number in range(count):
        charge = make_charge(f"{tenant}-{number}", tenant, priority=priority, born=born + number, cpu=each)
        ledger.record(charge)


def random_set(rng: Random) -> TenantSet:
    """A valid tree of up to four levels: what loads, with every mix of lend and max, bounded by a pool or not."""
    groups: dict[str, Group] = {}
    tenants: dict[str, Tenant] = {}
    top = sum(_grow(rng, "", 0, groups, tenants) for _ in range(rng.randint(1, 3)))
    offered = {"cpu": top + rng.randint(0, 20)} if rng.random() < 0.7 else None
    return make_set(*groups.values(), *tenants.values(), offered=offered)


def _grow(rng: Random, parent: str, depth: int, groups: dict[str, Group], tenants: dict[str, Tenant]) -> int:
    """Adds one node with all below it; answers what it is guaranteed."""
    if depth < 3 and rng.random() < 0.5:
        name = f"g{len(groups)}"
        groups[name] = make_group(name, parent=parent)
        inside = sum(_grow(rng, name, depth + 1, groups, tenants) for _ in range(rng.randint(1, 3)))
        own = inside + rng.randint(0, 20)
        states = rng.random() < 0.8
        groups[name] = make_group(name, _quota(rng, own) if states else {}, parent=parent)
        return own if states else inside
    own = rng.randint(0, 20)
    name = f"t{len(tenants)}"
    tenants[name] = make_tenant(name, parent=parent, quota=_quota(rng, own))
    return own


def _quota(rng: Random, guaranteed: int) -> Quota:
    rest: dict[str, int] = {}
    if rng.random() < 0.6:
        rest["max"] = guaranteed + rng.randint(0, 15)
    if rng.random() < 0.6:
        rest["lend"] = rng.randint(0, guaranteed)
    return cpu(guaranteed, **rest)


class PlainTree:
    """Kueue's cohort algebra for CPU, as its definitions read: recursive, usage kept by add and remove."""

    def __init__(self, tenants: TenantSet) -> None:
        self.nodes: dict[str, Tenant | Group] = {**tenants.groups, **tenants.tenants}
        self.used = dict.fromkeys(["", *self.nodes], 0)
        self.members: dict[str, list[str]] = {name: [] for name in self.used}
        for node in self.nodes.values():
            self.members[node.parent].append(node.name)
        pool = tenants.pools.get("default")
        self.offered = pool.allocatable["cpu"] if pool else None
        self.whole: dict[str, int] = {}
        self.subtree: dict[str, int] = {}
        self.local: dict[str, int] = {}
        self._derive("")

    def _derive(self, name: str) -> None:
        for member in self.members[name]:
            self._derive(member)
        stated = sum(self.whole[member] for member in self.members[name])
        self.whole[name] = max(self.stated(name).guaranteed, stated)
        if not name and self.offered is not None:
            self.whole[name] = self.offered
        nominal = self.whole[name] - stated
        lent = sum(self.subtree[member] - self.local[member] for member in self.members[name])
        self.subtree[name] = nominal + lent
        lend: Limit = self.stated(name).lend
        self.local[name] = 0 if lend is UNLIMITED else max(0, self.subtree[name] - lend)

    def stated(self, name: str) -> Allowance:
        return self.nodes[name].quota.get(CPU, Allowance()) if name else Allowance()

    def local_available(self, name: str) -> int:
        return max(0, self.local[name] - self.used[name])

    def available(self, name: str) -> float:
        if not name:
            return float("inf") if self.offered is None else self.subtree[""] - self.used[""]
        above = self.above(name)
        most: Limit = self.stated(name).max
        if most is not UNLIMITED:
            stored = self.subtree[name] - self.local[name] - max(0, self.used[name] - self.local[name])
            above = min(above, stored + most - self.whole[name])
        return self.local_available(name) + above

    def above(self, name: str) -> float:
        return self.available(self.nodes[name].parent)

    def add(self, name: str, amount: int) -> None:
        before = self.local_available(name) if name else 0
        self.used[name] += amount
        if name and amount > before:
            self.add(self.nodes[name].parent, amount - before)

    def remove(self, name: str, amount: int) -> None:
        stored = self.used[name] - self.local[name] if name else 0
        self.used[name] -= amount
        if stored > 0:
            self.remove(self.nodes[name].parent, min(amount, stored))


class KeptReserves(PlainTree):
    """The same, but a free reserve stays admissible where others are over-admitted (docs/decisions/0210)."""

    def above(self, name: str) -> float:
        room = super().above(name)
        return max(0, room) if self.local_available(name) else room
