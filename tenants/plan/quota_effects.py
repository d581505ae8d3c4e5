"""What a changed share means: guarantees lost or won, limits moved, pods that become reclaimable. Pure.

A guarantee that is lost makes pods reclaimable that were not: of the tenant's pods, those beyond the guarantee,
counted from the most important and oldest one (law 2 of the reclaim order: the guarantee protects that much).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tenants import pods as running
from tenants.model import Allowance, Dimension, Group, Quota, Tenant
from tenants.plan.effect import Effect, Impact, Kind, count, spell_amount
from tenants.pods import Pod
from tenants.quantity import UNLIMITED, Limit, render

Node = Tenant | Group


def share_effects(word: str, old: Node, new: Node) -> Iterator[Effect]:
    """Effects of one tenant's or group's stated shares; `word` is what it is called."""
    for dimension in sorted({*old.quota, *new.quota}):
        before, after = _allowance(old.quota, dimension), _allowance(new.quota, dimension)
        yield from _guarantee(word, new.name, dimension, before.guaranteed, after.guaranteed)
        yield from _limit(word, new.name, dimension, Kind.MAX, before.max, after.max)
        yield from _limit(word, new.name, dimension, Kind.LEND, before.lend, after.lend)
        if before.weight != after.weight:
            text = (
                f"{word} {new.name}'s weight among borrowers of {dimension}: {before.weight} → {after.weight}"
            )
            yield Effect(Impact.CHANGES, Kind.WEIGHT, new.name, text)
    if old.fence != new.fence:
        inside = "stays inside" if new.fence else "reaches outside"
        yield Effect(Impact.CHANGES, Kind.RECLAIM, new.name, f"preemption by members of {new.name} {inside}")


def pod_effects(old: Tenant, new: Tenant, own: Sequence[Pod], sandboxed: frozenset[str]) -> Iterator[Effect]:
    """What the changed shares mean for the tenant's running pods."""
    for dimension in sorted({*old.quota, *new.quota}):
        before, after = _allowance(old.quota, dimension), _allowance(new.quota, dimension)
        more = len(reclaimable(own, dimension, after.guaranteed, sandboxed)) - len(
            reclaimable(own, dimension, before.guaranteed, sandboxed)
        )
        if more:
            verb = "become" if more > 0 else "stop being"
            verb += "s" if abs(more) == 1 and more > 0 else ""
            verb = verb.replace("stop being", "stops being") if more == -1 else verb
            impact = Impact.DISRUPTS if more > 0 else Impact.CHANGES
            text = f"{count(abs(more), 'pod')} of {new.name} {verb} reclaimable for {dimension}"
            yield Effect(impact, Kind.RECLAIMABLE, new.name, text)
        used = running.usage(own, dimension, sandboxed)
        if after.max is not UNLIMITED and used > after.max and after.max != before.max:
            over = spell_amount(dimension, used - after.max)
            text = f"tenant {new.name} uses {over} more than its new max: no new pod until that is released"
            yield Effect(Impact.DISRUPTS, Kind.OVER_MAX, new.name, text)


def reclaimable(
    own: Iterable[Pod], dimension: Dimension, guaranteed: int, sandboxed: frozenset[str]
) -> list[Pod]:
    """The pods that the guarantee does not cover, the least important and youngest last to be covered."""
    left, found = guaranteed, []
    for pod in sorted(own, key=lambda pod: (-pod.priority, pod.created, pod.key)):
        taken = running.charge(pod, dimension, sandboxed)
        left -= taken
        if taken and left < 0:
            found.append(pod)
    return found


def _allowance(quota: Quota, dimension: Dimension) -> Allowance:
    return quota.get(dimension, Allowance())


def _guarantee(word: str, name: str, dimension: Dimension, before: int, after: int) -> Iterator[Effect]:
    if before == after:
        return
    moved = spell_amount(dimension, abs(after - before))
    numbers = f"{render(dimension.resource, before)} → {render(dimension.resource, after)}"
    verb, impact = ("loses", Impact.DISRUPTS) if after < before else ("gains", Impact.CHANGES)
    yield Effect(impact, Kind.GUARANTEE, name, f"{word} {name} {verb} {moved} of guarantee ({numbers})")


def _limit(
    word: str, name: str, dimension: Dimension, kind: Kind, before: Limit, after: Limit
) -> Iterator[Effect]:
    if before == after:
        return
    lower = before is UNLIMITED or (after is not UNLIMITED and after < before)
    what = "max" if kind is Kind.MAX else "lend limit"
    numbers = f"{_spell(dimension, before)} → {_spell(dimension, after)}"
    verb = "lowered" if lower else "raised"
    impact = Impact.DISRUPTS if lower and kind is Kind.MAX else Impact.CHANGES
    yield Effect(impact, kind, name, f"{what} of {word} {name} for {dimension} {verb} ({numbers})")


def _spell(dimension: Dimension, limit: Limit) -> str:
    return "unlimited" if limit is UNLIMITED else render(dimension.resource, limit)
