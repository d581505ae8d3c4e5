"""The JSON Schema of tenant files, for editors and for checks before a commit. Pure; printed by the commands.

It is made from the same models that the loader uses, so the two cannot drift apart. What only a look at
several documents can tell (sums, references, overlaps) is for the loader alone.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter

from tenants.files.kinds import KINDS, AnyFile

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The schema of one document of a tenant file (draft 2020-12)."""
    made = TypeAdapter[Any](AnyFile).json_schema(by_alias=True, mode="validation")
    return {
        "$schema": _DIALECT,
        "title": "Bulkhead tenant file",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {"kind": {"enum": list(KINDS), "description": "What the document describes."}},
        "allOf": [_of_kind(kind, model.__name__) for kind, model in KINDS.items()],
        "$defs": {name: _tidy(part) for name, part in made["$defs"].items()},
    }


def _of_kind(kind: str, definition: str) -> dict[str, Any]:
    """One branch; an editor then complains about the field that is wrong, not about five kinds at once."""
    named = {"required": ["kind"], "properties": {"kind": {"const": kind}}}
    return {"if": named, "then": {"$ref": f"#/$defs/{definition}"}}


def _tidy(node: Any) -> Any:
    """Without the titles that repeat the field's name, and with a rule for keys where only some are known."""
    if isinstance(node, list):
        return [_tidy(part) for part in node]
    if not isinstance(node, dict):
        return node
    tidy = {key: _tidy(part) for key, part in node.items() if key != "title" or isinstance(part, dict)}
    by_pattern = tidy.pop("patternProperties", None)
    if by_pattern:
        [(pattern, part)] = by_pattern.items()
        tidy |= {"propertyNames": {"pattern": pattern}, "additionalProperties": part}
    return tidy
