"""Kueue's ClusterQueue, Cohort, ResourceFlavor and LocalQueue -> tenants, groups and pools. Pure.

nominalQuota is the guarantee, nominalQuota + borrowingLimit the max, lendingLimit the lend limit. A cohort's own
nominalQuota is an extra on top of its members; a group's guarantee includes them, so they are added. A tree of
cohorts never uses more than its sum, so that is the max of its root. Source: Kueue v1beta1 and v1beta2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any, Final

from tenants.adopt.draft import (
    Doubts,
    Draft,
    Object,
    is_system,
    known_resource,
    label,
    name_of,
    of_kind,
    read_amount,
    spec_of,
    spell,
)
from tenants.errors import QuantityError
from tenants.model import Allowance, Dimension, Group, Pool, Quota
from tenants.quantity import UNLIMITED, Limit, cpu_milli, plus

GROUP: Final = "kueue.x-k8s.io"
_QUEUE_READ: Final = (
    "cohort",
    "cohortName",
    "resourceGroups",
    "fairSharing",
    "preemption",
    "namespaceSelector",
)
_COHORT_READ: Final = ("parent", "parentName", "resourceGroups", "fairSharing")
_FLAVOR_READ: Final = ("nodeLabels",)
_DEFAULTS: Final = {"queueingStrategy": "BestEffortFIFO", "stopPolicy": "None"}
Shares = dict[Dimension, Allowance]


class Kueue:
    """What Kueue's objects say; `drafts`, `groups` and `pools` are the result."""

    def __init__(self, objects: Iterable[Object], doubts: Doubts) -> None:
        everything = list(objects)
        self._doubts = doubts
        self._queues = of_kind(everything, "ClusterQueue", GROUP)
        self._cohorts = {name_of(one): one for one in of_kind(everything, "Cohort", GROUP)}
        self._local = of_kind(everything, "LocalQueue", GROUP)
        self._flavors = of_kind(everything, "ResourceFlavor", GROUP)
        self._scale = self._weight_scale()
        self._pool_names: dict[str, str] = {}
        self._group_names: dict[str, str] = {}
        self.pools = self._make_pools()
        self.drafts = self._make_drafts()
        self.groups = self._make_groups()

    def _make_pools(self) -> dict[str, Pool]:
        pools: dict[str, Pool] = {}
        for flavor in self._flavors:
            name = label(name_of(flavor), pools, "pool")
            self._pool_names[name_of(flavor)] = name
            spec = spec_of(flavor)
            pools[name] = Pool(name=name, node_labels=dict(spec.get("nodeLabels") or {}))
            self._doubts.unread(flavor, spec, "spec.", _FLAVOR_READ)
        return pools

    def _pool(self, flavor: str, user: Object) -> str:
        if flavor not in self._pool_names:
            self._doubts.add(user, f"no ResourceFlavor {flavor!r} was found: its pool has no node labels")
            name = label(flavor, self._pool_names.values(), "pool")
            self._pool_names[flavor] = name
            self.pools[name] = Pool(name=name)
        return self._pool_names[flavor]

    def _make_drafts(self) -> dict[str, Draft]:
        drafts: dict[str, Draft] = {}
        for queue in self._queues:
            name = label(name_of(queue), drafts, "queue")
            if name != name_of(queue):
                self._doubts.add(queue, f"is named {name} here: names are DNS labels")
            spec = spec_of(queue)
            cohort = str(spec.get("cohortName") or spec.get("cohort") or "")
            drafts[name] = Draft(
                name=name,
                source=spell(queue),
                parent=cohort,
                quota=self._shares(queue, bounded=not cohort),
                reclaim=self._reclaims(queue, spec),
            )
            self._doubt_queue(queue, spec)
            drafts[name].namespaces = self._namespaces(queue)
        return drafts

    def _doubt_queue(self, queue: Object, spec: Mapping[str, Any]) -> None:
        rest = {key: value for key, value in spec.items() if _DEFAULTS.get(key) != value}
        self._doubts.unread(queue, rest, "spec.", _QUEUE_READ)
        if spec.get("namespaceSelector"):
            self._doubts.add(
                queue, "spec.namespaceSelector is left out: namespaces are those of its LocalQueues"
            )

    def _reclaims(self, queue: Object, spec: Mapping[str, Any]) -> bool:
        preemption = dict(spec.get("preemption") or {})
        within = preemption.pop("reclaimWithinCohort", "Never")
        if within == "LowerPriority":
            self._doubts.add(queue, "reclaimWithinCohort: LowerPriority becomes reclaim from any borrower")
        rest = {key: value for key, value in preemption.items()
                if value != "Never" and not (isinstance(value, dict) and value.get("policy") == "Never")}  # fmt: skip
        self._doubts.unread(queue, rest, "spec.preemption.", ())
        return bool(within != "Never")

    def _namespaces(self, queue: Object) -> set[str]:
        """Those whose first LocalQueue points here."""
        found: set[str] = set()
        for local in self._local:
            if spec_of(local).get("clusterQueue") != name_of(queue):
                continue
            namespace = str(local["metadata"].get("namespace", "default"))
            first = next(
                one for one in self._local if one["metadata"].get("namespace", "default") == namespace
            )
            if is_system(namespace):
                self._doubts.add(local, f"namespace {namespace} belongs to the cluster, not to a tenant")
            elif spec_of(first).get("clusterQueue") != name_of(queue):
                self._doubts.add(local, f"a namespace is one tenant's, and {spell(first)} comes first")
            else:
                found.add(namespace)
        if not found:
            self._doubts.add(queue, "no LocalQueue points to it: the tenant has no namespace yet")
        return found

    def _shares(self, manifest: Object, *, bounded: bool) -> Shares:
        """`bounded`: nobody to borrow from, so the max is the guarantee."""
        shares: Shares = {}
        groups = spec_of(manifest).get("resourceGroups") or []
        weight = self._weight(manifest)
        for flavor, stated in _stated_quotas(groups):
            resource = str(stated["name"])
            if not known_resource(resource):
                self._doubts.add(manifest, f"quota of {resource} has no counterpart in tenant files")
                continue
            dimension = Dimension(self._pool(flavor, manifest), resource)
            share = self._share(manifest, resource, stated, weight, bounded=bounded)
            if share is not None:
                shares[dimension] = share
        return self._complete(manifest, shares) if manifest["kind"] == "ClusterQueue" else shares

    def _share(
        self, manifest: Object, resource: str, stated: Mapping[str, Any], weight: int, *, bounded: bool
    ) -> Allowance | None:
        nominal = read_amount(manifest, resource, stated.get("nominalQuota", "0"), self._doubts)
        if nominal is None:
            return None
        limits: list[Limit] = []
        for key, base in (("borrowingLimit", nominal), ("lendingLimit", 0)):
            written = stated.get(key)
            value = None if written is None else read_amount(manifest, resource, written, self._doubts)
            limits.append(UNLIMITED if value is None else plus(base, value))
        borrow, lend = limits
        return Allowance(guaranteed=nominal, max=nominal if bounded else borrow, lend=lend, weight=weight)

    def _complete(self, queue: Object, shares: Shares) -> Shares:
        """A queue without CPU or memory of a flavor gives none of it; tenant files have to say so."""
        whole = dict(shares)
        for pool in sorted({dimension.pool for dimension in shares}):
            for resource in ("cpu", "memory"):
                if Dimension(pool, resource) not in shares:
                    whole[Dimension(pool, resource)] = Allowance()
                    why = f"covers no {resource} in flavor {pool}: written as unlimited, since a pod takes all of"
                    self._doubts.add(queue, f"{why} its resources from one pool")
        return whole

    def _make_groups(self) -> dict[str, Group]:
        """One for every cohort that is named anywhere; Kueue makes those that have no object of their own."""
        named = {draft.parent for draft in self.drafts.values() if draft.parent} | set(self._cohorts)
        named |= {parent for cohort in self._cohorts.values() if (parent := _parent(cohort))}
        for cohort in sorted(named):
            self._group_names[cohort] = label(cohort, [*self.drafts, *self._group_names.values()], "cohort")
            if self._group_names[cohort] != cohort:
                self._doubts.add(f"Cohort {cohort}", f"is named {self._group_names[cohort]} here")
        groups: dict[str, Group] = {}
        for cohort in sorted(named):
            manifest = self._cohorts.get(cohort)
            parent = _parent(manifest) if manifest and not self._in_cycle(cohort) else ""
            name = self._group_names[cohort]
            quota = self._total(cohort, ())
            groups[name] = Group(name=name, parent=self._group_names.get(parent, ""), quota=quota)
            if manifest:
                self._doubts.unread(manifest, spec_of(manifest), "spec.", _COHORT_READ)
        for draft in self.drafts.values():
            draft.parent = self._group_names.get(draft.parent, "")
        return groups

    def _total(self, cohort: str, above: tuple[str, ...]) -> Quota:
        """A cohort's own quota plus all that its members guarantee."""
        manifest = self._cohorts.get(cohort)
        own = self._shares(manifest, bounded=False) if manifest else {}
        if cohort in above:
            return own
        members: list[Quota] = [draft.quota for draft in self.drafts.values() if draft.parent == cohort]
        members += [self._total(name, (*above, cohort)) for name, child in self._cohorts.items()
                    if _parent(child) == cohort]  # fmt: skip
        is_root = manifest is None or not _parent(manifest)
        return dict(_added(own, members, bounded=is_root))

    def _in_cycle(self, cohort: str) -> bool:
        seen: list[str] = []
        name = cohort
        while name in self._cohorts and name not in seen:
            seen.append(name)
            name = _parent(self._cohorts[name])
        if name == cohort and seen:
            self._doubts.add(f"Cohort {cohort}", "is its own ancestor, which Kueue disables: put at the root")
        return name == cohort and bool(seen)

    def _weight(self, manifest: Object) -> int:
        stated = _stated_weight(manifest)
        if stated == 0:
            self._doubts.add(manifest, "weight 0 becomes 1, the least there is")
        return max(1, int(stated * self._scale))

    def _weight_scale(self) -> int:
        """1, or 1000 if some weight is a fraction: only the ratio of weights counts."""
        weights = [_stated_weight(one) for one in (*self._queues, *self._cohorts.values())]
        return 1000 if any(weight.denominator != 1 for weight in weights) else 1


def _stated_quotas(groups: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(flavor, {name, nominalQuota, …}) of every resource group."""
    for group in groups:
        for flavor in group.get("flavors") or ():
            for stated in flavor.get("resources") or ():
                yield str(flavor["name"]), stated


def _parent(cohort: Object) -> str:
    spec = spec_of(cohort)
    return str(spec.get("parentName") or spec.get("parent") or "")


def _stated_weight(manifest: Object) -> Fraction:
    written = (spec_of(manifest).get("fairSharing") or {}).get("weight", 1)
    try:
        return Fraction(cpu_milli(str(written)), 1000)
    except QuantityError:
        return Fraction(1)


def _added(own: Shares, members: list[Quota], *, bounded: bool) -> Iterator[tuple[Dimension, Allowance]]:
    for dimension in sorted({*own, *(d for quota in members for d in quota)}):
        share = own.get(dimension, Allowance())
        inside = 0
        for quota in members:
            inside = plus(inside, quota.get(dimension, Allowance()).guaranteed)
        total = plus(share.guaranteed, inside)
        open_end = any(quota[dimension].max is UNLIMITED and not quota[dimension].guaranteed
                       for quota in members if dimension in quota) and not total  # fmt: skip
        ceiling = share.max if share.max is UNLIMITED else plus(share.max, inside)
        limit = ceiling if not bounded or open_end else total
        yield dimension, Allowance(guaranteed=total, max=limit, lend=share.lend, weight=share.weight)
