"""A plan in words: for the terminal, for a pull request, for machines. Pure; called by `plan` and `apply`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from tenants.plan.changes import Action, Change, FieldChange
from tenants.plan.effect import Effect, Impact, count
from tenants.plan.plan import Plan

_SIGNS: Final = {
    Action.CREATE: "+",
    Action.UPDATE: "~",
    Action.REPLACE: "±",
    Action.DELETE: "-",
    Action.RELEASE: "-",
}
_HEADS: Final = {
    Impact.DISRUPTS: "Takes something away",
    Impact.WEAKENS: "Opens something",
    Impact.CHANGES: "Other changes",
}
_SHOWN_FIELDS: Final = 8
_SHOWN_CHARS: Final = 100
_VERBS: Final = {
    "create": "created",
    "update": "updated",
    "replace": "replaced",
    "delete": "deleted",
    "release": "released",
}


def text(plan: Plan) -> str:
    """For people at a terminal."""
    lines = [f"Target: {plan.target}"]
    for impact, found in _by_impact(plan.effects):
        lines += ["", f"{_HEADS[impact]}:", *(f"  {effect.text}" for effect in found)]
    if plan.changes:
        lines += ["", "Objects:"]
        for change in plan.changes:
            lines += [
                f"  {_SIGNS[change.action]} {_named(change)}",
                *(f"      {one}" for one in _fields(change)),
            ]
    if plan.conflicts:
        lines += ["", "Conflicts (add --force-conflicts to take the fields over):"]
        lines += [f"  ! {conflict}" for conflict in plan.conflicts]
    lines += [f"Note: {note}" for note in plan.notes]
    return "\n".join([*lines, "", summary(plan)]) + "\n"


def markdown(plan: Plan) -> str:
    """For a comment on a pull request: effects in the open, objects folded away."""
    lines = [f"### Tenants: {summary(plan)}", "", f"Target: `{plan.target}`"]
    for impact, found in _by_impact(plan.effects):
        lines += ["", f"**{_HEADS[impact]}**", "", *(f"- {_escaped(effect.text)}" for effect in found)]
    if plan.conflicts:
        lines += ["", "**Conflicts**", "", *(f"- {_escaped(str(conflict))}" for conflict in plan.conflicts)]
    if plan.changes:
        lines += ["", f"<details><summary>{count(len(plan.changes), 'object')}</summary>", "", "```diff"]
        for change in plan.changes:
            sign = {"~": "!", "±": "!"}.get(_SIGNS[change.action], _SIGNS[change.action])
            lines += [f"{sign} {_named(change)}", *(f"#     {one}" for one in _fields(change))]
        lines += ["```", "", "</details>"]
    lines += [f"\n_{_escaped(note)}_" for note in plan.notes]
    return "\n".join(lines) + "\n"


def as_json(plan: Plan) -> str:
    """For machines; fields are those of `plan.Plan`, and `empty`."""
    built: dict[str, Any] = {"empty": plan.empty, **msgspec.to_builtins(plan)}
    return msgspec.json.format(msgspec.json.encode(built), indent=2).decode() + "\n"


def summary(plan: Plan) -> str:
    """One line."""
    if plan.empty:
        return "nothing changes"
    parts = [f"{number} {_VERBS[action]}" for action in Action if (number := plan.count(action))]
    head = f"{count(len(plan.effects), 'effect')}; objects: {', '.join(parts) or 'none'}"
    return head + (f"; {count(len(plan.conflicts), 'conflict')}" if plan.conflicts else "")


def _by_impact(effects: Iterable[Effect]) -> Iterator[tuple[Impact, list[Effect]]]:
    found = list(effects)
    for impact in Impact:
        if here := [effect for effect in found if effect.impact is impact]:
            yield impact, here


def _named(change: Change) -> str:
    return (
        f"{change.ref} ({'released, it stays' if change.action is Action.RELEASE else change.action.value})"
    )


def _fields(change: Change) -> list[str]:
    lines = [f"{field.path}: {_value(field, 'before')} → {_value(field, 'after')}" for field in change.fields]
    more = len(lines) - _SHOWN_FIELDS
    return [*lines[:_SHOWN_FIELDS], *([f"… and {count(more, 'more field')}"] if more > 0 else [])]


def _value(field: FieldChange, side: str) -> str:
    value = getattr(field, side)
    if value is None:
        return "(absent)"
    written = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return written if len(written) <= _SHOWN_CHARS else f"{written[:_SHOWN_CHARS]}…"


def _escaped(words: str) -> str:
    """Names may hold what Markdown reads as markup; `*` and `_` are the ones that occur."""
    return words.replace("*", r"\*").replace("_", r"\_").replace("<", "&lt;")
