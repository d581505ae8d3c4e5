"""Carry out what `prepare` found, step by step; called by `apply`. Every step may be the last before a crash.

Nothing is remembered between steps: the next run looks at the target again and does what is left. Steps are
ordered by `plan.order`, deletions follow every write, and the record of the files comes last.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from tenants.errors import ClusterError
from tenants.live.prepare import Prepared
from tenants.live.target import Target
from tenants.plan.changes import Action, Change, Conflict
from tenants.plan.objects import Ref, ref

_WALLS: Final = ("ValidatingAdmissionPolicy", "MutatingAdmissionPolicy")


class Outcome(enum.StrEnum):
    """What became of one step."""

    WRITTEN = "written"
    DELETED = "deleted"
    RELEASED = "released"
    CONFLICT = "conflict"
    KEPT = "kept"  # a namespace that holds something


class Step(msgspec.Struct, frozen=True):
    """One step done or refused; `detail` says why it was refused and what to do."""

    outcome: Outcome
    ref: Ref
    detail: str = ""

    @property
    def refused(self) -> bool:
        """Whether the object is not what the files ask for."""
        return self.outcome in {Outcome.CONFLICT, Outcome.KEPT}


def apply(
    target: Target, prepared: Prepared, *, force: bool = False, delete_namespaces: bool = False
) -> Iterator[Step]:
    """Do it; yields after each step. After a refused write nothing is deleted and nothing is recorded.

    Raises:
        ClusterError: the target refused or went away; what was done stays done.
    """
    if prepared.leaving:
        names = ", ".join(prepared.leaving)
        raise ClusterError(
            f"namespace {names} is still being deleted; wait until it is gone, then apply again"
        )
    blocked = unsettled = False
    for manifest in prepared.writes:
        is_wall = manifest["kind"].startswith(_WALLS)
        if unsettled and not is_wall:
            target.settle()
        unsettled = is_wall
        conflict = target.write(manifest, force=force)
        blocked = blocked or conflict is not None
        yield _conflict(conflict) if conflict else Step(Outcome.WRITTEN, ref(manifest))
    if blocked:
        return
    for step in _removals(target, prepared.removals, delete_namespaces=delete_namespaces):
        blocked = blocked or step.refused
        yield step
    if prepared.note is not None and not blocked:
        conflict = target.write(prepared.note, force=True)
        yield _conflict(conflict) if conflict else Step(Outcome.WRITTEN, ref(prepared.note))


def _removals(target: Target, changes: Sequence[Change], *, delete_namespaces: bool) -> Iterator[Step]:
    """A namespace that has to stay keeps its fences; one that goes takes them along when its pods are gone."""
    going = {change.ref.name for change in changes
             if change.ref.kind == "Namespace" and change.action is Action.DELETE}  # fmt: skip
    held = {} if delete_namespaces else {name: what for name in going if (what := target.occupied(name))}
    for change in changes:
        one = change.ref
        home = one.name if one.kind == "Namespace" else one.namespace
        if home in held:
            yield Step(
                Outcome.KEPT,
                one,
                f"namespace {home} holds {held[home]}; empty it, or add --delete-namespaces",
            )
        elif change.action is Action.RELEASE:
            target.release(one)
            yield Step(Outcome.RELEASED, one, "it was there before us and stays, without our labels")
        elif target.acts and one.namespace in going:
            yield Step(Outcome.DELETED, one, "with its namespace")
        else:
            target.remove(one)
            yield Step(Outcome.DELETED, one)


def _conflict(conflict: Conflict) -> Step:
    advice = "let that manager go, or take the fields over with --force-conflicts"
    return Step(Outcome.CONFLICT, conflict.ref, f"{conflict}; {advice}")
