"""What a changed wall means: trust, runtime, neighbours, priority, and which running pods no longer fit. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tenants.isolation import needs_sandbox, verify_runtime
from tenants.model import Isolation, Runtime, Tenant, TenantSet, Trust
from tenants.plan.effect import Effect, Impact, Kind, count
from tenants.pods import Pod


def wall_effects(
    old: Tenant, new: Tenant, models: tuple[TenantSet, TenantSet], own: Sequence[Pod] | None
) -> Iterator[Effect]:
    """Effects of trust, isolation and priority of one tenant; `own` None = running pods are not known."""
    if old.trust is not new.trust:
        yield _trust(new)
    elif old.isolation.runtime is not new.isolation.runtime:
        yield _runtime(old, new)
    yield from _restarts(old, new, models, own)
    yield from _neighbours(new.name, old.isolation, new.isolation)
    yield from _priority(old, new, own)


def _trust(new: Tenant) -> Effect:
    if new.trust is Trust.UNTRUSTED:
        text = f"trust of {new.name} falls to untrusted: its pods get a kernel of their own"
        return Effect(Impact.CHANGES, Kind.TRUST, new.name, text)
    wall = "sandboxed as its file says" if needs_sandbox(new) else "free to run on the shared kernel"
    text = f"trust of {new.name} rises to trusted: its pods are {wall}"
    return Effect(Impact.WEAKENS, Kind.TRUST, new.name, text)


def _runtime(old: Tenant, new: Tenant) -> Effect:
    before, after = old.isolation.runtime, new.isolation.runtime
    weaker = before is Runtime.BULKHEAD and not needs_sandbox(new)
    text = f"runtime of {new.name}: {before} → {after}"
    return Effect(Impact.WEAKENS if weaker else Impact.CHANGES, Kind.RUNTIME, new.name, text)


def _restarts(
    old: Tenant, new: Tenant, models: tuple[TenantSet, TenantSet], own: Sequence[Pod] | None
) -> Iterator[Effect]:
    """Pods whose runtime was right and is not any more: a runtime class can't be changed in place."""
    before, after = models
    if own is None:
        if needs_sandbox(new) and not needs_sandbox(old):
            text = f"running pods of {new.name} on runc must restart (how many is not known here)"
            yield Effect(Impact.DISRUPTS, Kind.RESTART, new.name, text)
        return
    wrong = [
        pod
        for pod in own
        if verify_runtime(new, pod.runtime_class, after.runtime_classes)
        and not verify_runtime(old, pod.runtime_class, before.runtime_classes)
    ]
    if wrong:
        on = ", ".join(sorted({pod.runtime_class or "runc" for pod in wrong}))
        text = f"{count(len(wrong), 'running pod')} of {new.name} on {on} must restart"
        yield Effect(Impact.DISRUPTS, Kind.RESTART, new.name, text)


def _neighbours(name: str, old: Isolation, new: Isolation) -> Iterator[Effect]:
    for what, before, after in (
        ("co-residency", old.co_residency.value, new.co_residency.value),
        ("cores", old.cores.value, new.cores.value),
        ("untrusted tenants per node", old.blast_radius, new.blast_radius),
        ("never-with list", sorted(old.never_with), sorted(new.never_with)),
    ):
        if before != after:
            text = f"{what} of {name}: {_spell(before)} → {_spell(after)}; running pods stay where they are"
            weaker = bool(old.never_with - new.never_with) and what.startswith("never")
            yield Effect(Impact.WEAKENS if weaker else Impact.CHANGES, Kind.ISOLATION, name, text)


def _spell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "nobody"
    return "no limit" if value is None else str(value)


def _priority(old: Tenant, new: Tenant, own: Sequence[Pod] | None) -> Iterator[Effect]:
    before, after = old.priority_ceiling, new.priority_ceiling
    if before == after:
        return
    over = sum(pod.priority > after for pod in own or ())
    more = f": {count(over, 'running pod')} above it could not be started again" if over else ""
    text = f"priority ceiling of {new.name}: {before} → {after}{more}"
    yield Effect(Impact.DISRUPTS if over else Impact.CHANGES, Kind.PRIORITY, new.name, text)
