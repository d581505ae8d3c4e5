"""Objects as they are and as they would be -> what changes, field by field. Pure.

`live` finds out both sides: an API server says itself what an apply would make of an object (dry run), so
defaults and other people's fields never look like a difference.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from tenants.plan.objects import Object, Ref, stated


class Action(enum.StrEnum):
    """What happens to an object."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"  # a field that never changes: the object is deleted and made anew
    DELETE = "delete"
    RELEASE = "release"  # a namespace that was there before us: our labels go, the namespace stays


class FieldChange(msgspec.Struct, frozen=True):
    """`before` or `after` is None where the field is absent."""

    path: str
    before: Any
    after: Any


class Change(msgspec.Struct, frozen=True):
    """One object that does not stay as it is; an update says which fields."""

    action: Action
    ref: Ref
    fields: tuple[FieldChange, ...] = ()


class Immutable(msgspec.Struct, frozen=True):
    """The server refuses to change such a field in place; `detail` is its sentence."""

    detail: str


class Unsaid(msgspec.Struct, frozen=True):
    """The server can't preview: its admission judges by the facts of the last apply. An apply renews them first."""

    detail: str


class Conflict(msgspec.Struct, frozen=True):
    """A field that another manager set to another value; only --force-conflicts takes it over."""

    ref: Ref
    managers: tuple[str, ...]
    fields: tuple[str, ...]
    detail: str

    def __str__(self) -> str:
        return f"{self.ref}: {', '.join(self.fields)} belongs to {', '.join(self.managers)}"


def update(ref: Ref, before: Object, after: Object) -> Change | None:
    """The change between two states of one object; None = it stays."""
    fields = tuple(_differences("", stated(before), stated(after)))
    return Change(Action.UPDATE, ref, fields) if fields else None


def removed(owned: Mapping[Ref, Object], desired: Iterable[Ref]) -> list[Ref]:
    """Ours that nobody asks for any more; one object under two API versions is the same object."""
    wanted = {(ref.kind, ref.namespace, ref.name) for ref in desired}
    return sorted(ref for ref in owned if (ref.kind, ref.namespace, ref.name) not in wanted)


def _differences(path: str, before: Any, after: Any) -> Iterator[FieldChange]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            step = f"[{key}]" if "." in key or "/" in key else f".{key}" if path else key
            yield from _differences(path + step, before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(f"{path}[{index}]", one, other)
    else:
        yield FieldChange(path, before, after)
