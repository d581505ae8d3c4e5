"""Snapshot of a target + tenant files -> what to do there and what that means. Reads, writes nothing.

Called by `plan` (which prints it) and `apply` (which also does it).
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from tenants import manifests
from tenants.live import record
from tenants.live.target import Target
from tenants.manifests.objects import MANAGED_BY, OWNER, READY_LABEL
from tenants.model import TenantSet
from tenants.plan.changes import Action, Change, Conflict, FieldChange, Immutable, Unsaid, removed, update
from tenants.plan.effects import effects
from tenants.plan.objects import Object, Ref, labels, ref
from tenants.plan.order import to_remove, to_write
from tenants.plan.plan import Plan

MADE_BY_US: Final = (
    "bulkhead.dev/namespace-made-by-apply"  # annotation: only such a namespace is ever deleted
)
PREVIEWS: Final = 8
_OPTIONAL: Final = (
    "MutatingAdmissionPolicy"  # a comfort, not a wall: what is not filled in is refused when missing
)


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """The plan, and the steps that carry it out; `note` is the record, written when all else is done."""

    plan: Plan
    writes: tuple[Object, ...]
    removals: tuple[Change, ...]
    note: Object | None
    leaving: tuple[str, ...] = ()  # namespaces that are asked for and are still being deleted


def prepare(
    target: Target, tenants: TenantSet, *, prune: bool = True, force: bool = False, guided: bool = False
) -> Prepared:
    """What an apply of `tenants` to `target` would do now; `guided` as in `manifests.render`."""
    owned = target.owned()
    rendered = manifests.render(tenants, live_namespaces=target.namespaces(), guided=guided)
    unserved = {one["kind"] for one in rendered
                if one["kind"].startswith(_OPTIONAL) and not target.serves(one["apiVersion"], one["kind"])}  # fmt: skip
    desired = {ref(manifest): manifest for manifest in rendered if manifest["kind"] not in unserved}
    present = {**owned, **target.current(one for one in desired if one not in owned)}
    leaving = {
        one.name for one, manifest in present.items() if one.kind == "Namespace" and _is_leaving(manifest)
    }
    existing = {one: manifest for one, manifest in present.items() if _home(one) not in leaving}
    desired = {one: _marked(one, manifest, existing) for one, manifest in desired.items()}
    remembered = owned.get(record.place())
    note = record.record(tenants)
    changes, conflicts = _written(target, desired, existing, force=force)
    stale = to_remove(_stale(owned, desired, leaving)) if prune else []
    removals = tuple(_removal(one, owned[one]) for one in stale)
    before = record.recall(remembered) if remembered else None
    running = target.pods()
    plan = Plan(
        target=target.name,
        effects=tuple(effects(before or TenantSet(), tenants, running)) if before or not owned else (),
        changes=(*changes, *removals, *_noted(remembered, note)),
        conflicts=conflicts,
        notes=tuple(_notes(before is not None or not owned, running is not None, unserved)),
    )
    touched = {change.ref for change in changes} | {conflict.ref for conflict in conflicts}
    marked = {one for one, manifest in existing.items() if READY_LABEL in labels(manifest)}
    writes = to_write((desired[one] for one in desired if one in touched), marked if target.acts else desired)
    if not owned:
        writes.insert(
            0, record.record(TenantSet())
        )  # so that a first run that is interrupted leaves "from nothing"
    late = tuple(sorted(leaving & {one.name for one in desired if one.kind == "Namespace"}))
    return Prepared(plan=plan, writes=tuple(writes), removals=removals, note=note, leaving=late)


def _marked(one: Ref, manifest: Object, existing: Mapping[Ref, Object]) -> Object:
    """A namespace that is not there yet is ours to delete one day; the mark is in the write that makes it."""
    if one.kind != "Namespace":
        return manifest
    there = existing.get(one)
    marks = (there["metadata"].get("annotations") or {}) if there else {MADE_BY_US: "true"}
    if MADE_BY_US not in marks:
        return manifest
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": {MADE_BY_US: "true"}}}


def _written(
    target: Target, desired: Mapping[Ref, Object], existing: Mapping[Ref, Object], *, force: bool
) -> tuple[list[Change], tuple[Conflict, ...]]:
    """Changes by creation and update, and what stands in the way."""
    changes: list[Change] = [Change(Action.CREATE, one) for one in desired if one not in existing]
    conflicts: list[Conflict] = []
    known = [one for one in desired if one in existing]
    with ThreadPoolExecutor(PREVIEWS) as pool:
        previews = pool.map(lambda one: target.preview(desired[one], force=force), known)
        for one, outcome in zip(known, previews, strict=True):
            if isinstance(outcome, Conflict):
                conflicts.append(outcome)
            elif isinstance(outcome, Immutable):
                changes.append(Change(Action.REPLACE, one, _stated_fields(one, existing[one], desired[one])))
            elif isinstance(outcome, Unsaid):
                changes.append(Change(Action.UPDATE, one, _stated_fields(one, existing[one], desired[one])))
            elif (change := update(one, existing[one], outcome)) is not None:
                changes.append(change)
    return sorted(changes, key=lambda change: (change.action, change.ref)), tuple(conflicts)


def _stated_fields(one: Ref, before: Object, after: Object) -> tuple[FieldChange, ...]:
    """The server does not say what it would be, so only the fields that we state are compared."""
    marks = {"labels": {**labels(before), **labels(after)}}
    content = {key: value for key, value in after.items() if key != "metadata"}
    seen = update(one, before, {**before, **content, "metadata": {**before["metadata"], **marks}})
    return seen.fields if seen else ()


def _stale(
    owned: Mapping[Ref, Object], desired: Mapping[Ref, Object], leaving: Container[str]
) -> Iterator[Ref]:
    """Ours that nobody asks for, except the record and what is on its way out with its namespace."""
    for one in removed(owned, desired):
        if one != record.place() and _home(one) not in leaving:
            yield one


def _home(one: Ref) -> str:
    return one.name if one.kind == "Namespace" else one.namespace


def _is_leaving(manifest: Object) -> bool:
    return "deletionTimestamp" in manifest["metadata"]


def _removal(one: Ref, manifest: Object) -> Change:
    annotations = manifest["metadata"].get("annotations") or {}
    ours = one.kind != "Namespace" or MADE_BY_US in annotations
    return Change(Action.DELETE if ours else Action.RELEASE, one)


def _noted(remembered: Object | None, note: Object) -> Iterator[Change]:
    """The record itself is an object too; it changes whenever the files do."""
    if remembered is None:
        yield Change(Action.CREATE, record.place())
    elif any(remembered.get(key) != note.get(key) for key in ("data", "binaryData")) or (
        labels(remembered).get(MANAGED_BY) != OWNER
    ):
        yield Change(Action.UPDATE, record.place())


def _notes(has_record: bool, knows_pods: bool, unserved: set[str]) -> Iterator[str]:
    if not has_record:
        yield "no readable record of the last apply there: objects are compared, effects are not known"
    if not knows_pods:
        yield "running pods are not known here, so they are not counted"
    if unserved:
        yield f"the server has no {', '.join(sorted(unserved))}: what they fill in, pods have to say themselves"
