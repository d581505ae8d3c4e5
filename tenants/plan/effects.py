"""Everything that the step from one model to another means, most disruptive first. Pure; `plan` prints it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from tenants.model import Group, RuntimeClass, Tenant, TenantSet
from tenants.plan.effect import Effect, Impact, Kind, count, spell_amount
from tenants.plan.flow_effects import flow_effects
from tenants.plan.quota_effects import pod_effects, share_effects
from tenants.plan.wall_effects import wall_effects
from tenants.pods import GONE, Pod, sandbox_classes
from tenants.quantity import render

Pods = Sequence[Pod] | None


def effects(old: TenantSet, new: TenantSet, pods: Pods = None) -> list[Effect]:
    """What changes for whom; `pods` None = what runs is not known, so nothing is counted."""
    alive = None if pods is None else [pod for pod in pods if pod.phase not in GONE]
    found = [
        *_come_and_go(old, new, alive),
        *_tenants(old, new, alive),
        *_groups(old, new),
        *_namespaces(old, new, alive),
        *flow_effects(old, new),
        *_runtime_classes(old, new, alive),
        *_places(old, new),
    ]
    order = list(Impact)
    return sorted(dict.fromkeys(found), key=lambda effect: order.index(effect.impact))


def by_tenant(model: TenantSet, pods: Sequence[Pod]) -> dict[str, list[Pod]]:
    """The pods that a model gives to each tenant; those of nobody are left out."""
    owners: dict[str, str] = {}
    found: defaultdict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        if pod.namespace not in owners:
            owner = model.tenant_of(pod.namespace)
            owners[pod.namespace] = owner.name if owner else ""
        if owners[pod.namespace]:
            found[owners[pod.namespace]].append(pod)
    return dict(found)


def _come_and_go(old: TenantSet, new: TenantSet, pods: Pods) -> Iterator[Effect]:
    for name in sorted({*new.tenants} - {*old.tenants}):
        yield Effect(Impact.CHANGES, Kind.TENANT, name, _introduced(new.tenants[name]))
    owned = by_tenant(old, pods or ())
    for name in sorted({*old.tenants} - {*new.tenants}):
        own = owned.get(name)
        left = f"; {count(len(own), 'running pod')} left without a tenant" if own else ""
        text = f"tenant {name} is deleted with its quota, policies and rights{left}"
        yield Effect(Impact.DISRUPTS, Kind.TENANT, name, text)


def _introduced(tenant: Tenant) -> str:
    """A new tenant in one line."""
    shares = [spell_amount(dimension, share.guaranteed)
              for dimension, share in sorted(tenant.quota.items()) if share.guaranteed]  # fmt: skip
    names = [*tenant.namespaces, *(f"{prefix}*" for prefix in tenant.namespace_prefixes)]
    promised = f"guaranteed {', '.join(shares)}" if shares else "nothing guaranteed"
    return f"tenant {tenant.name} is new: {tenant.trust}, {promised}, namespaces {', '.join(names) or 'none'}"


def _tenants(old: TenantSet, new: TenantSet, pods: Pods) -> Iterator[Effect]:
    sandboxed, owned = sandbox_classes(new), by_tenant(new, pods or ())
    for name in sorted(new.tenants):
        own = None if pods is None else owned.get(name, [])
        before, after = old.tenants.get(name), new.tenants[name]
        if before is not None:
            yield from share_effects("tenant", before, after)
            yield from wall_effects(before, after, (old, new), own)
            yield from _standing(before, after)
        if own:
            yield from pod_effects(before or Tenant(name=name), after, own, sandboxed)


def _standing(old: Tenant, new: Tenant) -> Iterator[Effect]:
    """Place in the tree, reclaim, administrators."""
    if old.parent != new.parent:
        text = f"tenant {new.name} moves from {old.parent or 'the root'} to {new.parent or 'the root'}"
        yield Effect(Impact.CHANGES, Kind.PARENT, new.name, text)
    if old.reclaim != new.reclaim:
        verb = "takes lent capacity back" if new.reclaim else "waits for lent capacity to come back by itself"
        impact = Impact.CHANGES if new.reclaim else Impact.DISRUPTS
        yield Effect(impact, Kind.RECLAIM, new.name, f"tenant {new.name} {verb}")
    for admin in new.admins:
        if admin not in old.admins:
            text = f"{admin.kind} {admin.name} administers {new.name}"
            yield Effect(Impact.WEAKENS, Kind.ADMIN, new.name, text)
    for admin in old.admins:
        if admin not in new.admins:
            text = f"{admin.kind} {admin.name} no longer administers {new.name}"
            yield Effect(Impact.DISRUPTS, Kind.ADMIN, new.name, text)


def _groups(old: TenantSet, new: TenantSet) -> Iterator[Effect]:
    for name in sorted({*old.groups, *new.groups}):
        before, after = (model.groups.get(name, Group(name=name)) for model in (old, new))
        if name not in new.groups:
            yield Effect(Impact.DISRUPTS, Kind.GROUP, name, f"group {name} is deleted")
            continue
        if name not in old.groups:
            yield Effect(Impact.CHANGES, Kind.GROUP, name, f"group {name} is new")
        elif before.parent != after.parent:
            text = f"group {name} moves from {before.parent or 'the root'} to {after.parent or 'the root'}"
            yield Effect(Impact.CHANGES, Kind.PARENT, name, text)
        yield from share_effects("group", before, after)


def _namespaces(old: TenantSet, new: TenantSet, pods: Pods) -> Iterator[Effect]:
    """Namespaces and prefixes that change hands."""
    before, after = _patterns(old), _patterns(new)
    for pattern in sorted({*before, *after}):
        was, becomes = before.get(pattern, ""), after.get(pattern, "")
        if was == becomes or was not in {"", *new.tenants}:
            continue  # goes away with its tenant, which is an effect of its own
        held = _held(pattern, pods)
        if not was and not held and becomes not in old.tenants:
            continue  # comes with its tenant
        inside = f" with {count(held, 'running pod')}" if held else ""
        if was and becomes:
            text = f"namespace {pattern} moves from tenant {was} to {becomes}{inside}"
            yield Effect(Impact.DISRUPTS, Kind.NAMESPACE, becomes, text)
        elif becomes:
            text = f"namespace {pattern}{inside} becomes tenant {becomes}'s"
            yield Effect(Impact.CHANGES, Kind.NAMESPACE, becomes, text)
        else:
            text = f"namespace {pattern}{inside} is no longer tenant {was}'s"
            yield Effect(Impact.DISRUPTS, Kind.NAMESPACE, was, text)


def _held(pattern: str, pods: Pods) -> int:
    """Running pods in a namespace, or in all that a prefix covers."""
    stem = pattern.removesuffix("*")
    return sum(
        pod.namespace == pattern or (stem != pattern and pod.namespace.startswith(stem)) for pod in pods or ()
    )


def _patterns(model: TenantSet) -> dict[str, str]:
    owned: dict[str, str] = {}
    for tenant in model.tenants.values():
        owned |= dict.fromkeys(tenant.namespaces, tenant.name)
        owned |= dict.fromkeys((f"{prefix}*" for prefix in tenant.namespace_prefixes), tenant.name)
    return owned


def _runtime_classes(old: TenantSet, new: TenantSet, pods: Pods) -> Iterator[Effect]:
    for name in sorted({*old.runtime_classes, *new.runtime_classes}):
        before, after = old.runtime_classes.get(name), new.runtime_classes.get(name)
        using = sum(pod.runtime_class == name for pod in pods or ())
        running = f"; {count(using, 'running pod')} of it keep what they have" if using else ""
        if after is None:
            text = f"RuntimeClass {name} is deleted{running}"
            yield Effect(Impact.DISRUPTS, Kind.RUNTIME_CLASS, name, text)
        elif before is None:
            yield Effect(Impact.CHANGES, Kind.RUNTIME_CLASS, name, f"RuntimeClass {name} is new")
        elif before != after:
            text = f"RuntimeClass {name}: {_costs(before)} → {_costs(after)}{running}"
            impact = Impact.WEAKENS if before.sandboxed and not after.sandboxed else Impact.CHANGES
            yield Effect(impact, Kind.RUNTIME_CLASS, name, text)


def _costs(found: RuntimeClass) -> str:
    cpu, memory = render("cpu", found.overhead_cpu_milli), render("memory", found.overhead_memory_mib)
    where = ",".join(f"{key}={value}" for key, value in sorted(found.node_selector.items()))
    return f"handler {found.handler}, {cpu} CPU and {memory} a pod" + (f", on {where}" if where else "")


def _places(old: TenantSet, new: TenantSet) -> Iterator[Effect]:
    for kind, before, after in (
        (Kind.POOL, dict(old.pools), dict(new.pools)),
        (Kind.NODE_CLASS, dict(old.node_classes), dict(new.node_classes)),
    ):
        word = "pool" if kind is Kind.POOL else "node class"
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                verb = "is new" if name not in before else "changes" if name in after else "is deleted"
                impact = Impact.CHANGES if name in after else Impact.DISRUPTS
                yield Effect(impact, kind, name, f"{word} {name} {verb}")
