"""What an API server means by refusing an apply: not ready yet, immutable, a field of others. Pure; for `cluster`."""

from __future__ import annotations

import re
from typing import Any, Final

from tenants.live.connection import Answer
from tenants.plan.changes import Conflict
from tenants.plan.objects import Object, Ref, labels

# Admission reads its facts from a watch: a server that has just been told more refuses, or labels as before, until
# it has seen them. What a dry run says meanwhile is about the facts of the last apply.
UNREADY: Final = "no params found for policy binding"
OWN_RULE: Final = "denied request: bulkhead: "
# Server-side apply of an empty map over one that we filled leaves null, which the schema of our table refuses.
EMPTIED: Final = 'must be of type object: "null"'
IMMUTABLE: Final = ("may not be changed", "field is immutable")  # PriorityClass value, RuntimeClass handler
_MANAGER_NAME: Final = re.compile(r'conflict with "([^"]+)"')


def says(answer: Answer, words: tuple[str, ...]) -> bool:
    """Whether it is a refusal for one of these reasons."""
    return not answer.ok and any(word in answer.message for word in words)


def relabelled(manifest: Object, written: Object) -> str:
    """A label that admission changed on the way in, if any."""
    stored = labels(written)
    return next((key for key, value in labels(manifest).items() if stored.get(key) != value), "")


def conflict_of(one: Ref, causes: list[dict[str, Any]], message: str) -> Conflict:
    """Whose fields they are, by the causes of a 409."""
    found = [_MANAGER_NAME.search(cause.get("message", "")) for cause in causes]
    managers = {match.group(1) for match in found if match}
    fields = sorted(str(cause.get("field", "")).removeprefix(".") for cause in causes)
    return Conflict(one, tuple(sorted(managers)), tuple(fields), message)


def conflicts(answer: Answer) -> list[dict[str, Any]]:
    """Causes of a 409 that are field conflicts; a namespace in deletion is a 409 too and has none."""
    details: dict[str, Any] = answer.body.get("details") or {}
    causes: list[dict[str, Any]] = details.get("causes") or []
    return [cause for cause in causes if cause.get("reason") == "FieldManagerConflict"]
