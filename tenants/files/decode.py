"""One document with positions -> its typed kind, or every problem of its shape at once. Pure.

Called by `load` for each document. This is the only place that knows pydantic's error types.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tenants.files.kinds import KINDS, PARTS, AnyFile
from tenants.files.positions import Document, Loc
from tenants.files.problem import Kind, Problem, did_you_mean

_OWN_KINDS: Final = {kind.value for kind in Kind}
_BY_TYPE: Final = {
    "extra_forbidden": Kind.UNKNOWN_FIELD,
    "missing": Kind.MISSING_FIELD,
    "enum": Kind.WRONG_VALUE,
    "literal_error": Kind.WRONG_VALUE,
    "greater_than_equal": Kind.WRONG_VALUE,
    "less_than_equal": Kind.WRONG_VALUE,
}


class Declared(NamedTuple):
    """A document that has the right shape, and where it stands."""

    document: Document
    file: AnyFile


def decode(document: Document) -> Declared | list[Problem]:
    """Check the shape of one document."""
    if not isinstance(document.value, dict):
        return [document.problem((), Kind.WRONG_TYPE, "a mapping with apiVersion, kind and name is needed")]
    kind = document.value.get("kind")
    if kind is None:
        why = "this field is needed to know what the document is"
        return [document.problem(("kind",), Kind.MISSING_FIELD, why, did_you_mean("", KINDS))]
    if not isinstance(kind, str) or kind not in KINDS:
        return [
            document.problem(
                ("kind",), Kind.UNKNOWN_KIND, f"unknown kind {kind!r}", did_you_mean(str(kind), KINDS)
            )
        ]
    try:
        return Declared(document, KINDS[kind].model_validate(document.value))
    except ValidationError as error:
        return [_problem(document, KINDS[kind], found) for found in error.errors(include_url=False)]


def _problem(document: Document, root: type[BaseModel], found: ErrorDetails) -> Problem:
    loc, name = found["loc"], found["type"]
    context: dict[str, Any] = found.get("ctx", {})
    if name in _OWN_KINDS:
        return document.problem(loc, Kind(name), context["why"], context["suggestion"])
    kind = _BY_TYPE.get(name, Kind.WRONG_TYPE)
    if kind is Kind.UNKNOWN_FIELD:
        known = _fields_at(root, loc[:-1])
        return document.problem(loc, kind, "unknown field", did_you_mean(str(loc[-1]), known), key=True)
    if kind is Kind.MISSING_FIELD:
        return document.problem(loc, kind, "this field is needed")
    if name in {"enum", "literal_error"}:
        known = [word.strip("' ") for word in context["expected"].replace(" or ", ",").split(",")]
        return document.problem(loc, kind, f"{found['input']!r} is not a value of this field",
                                did_you_mean(str(found["input"]), known))  # fmt: skip
    return document.problem(loc, kind, found["msg"][:1].lower() + found["msg"][1:])


def _fields_at(root: type[BaseModel], loc: Loc) -> list[str]:
    """Names of the fields of the part at `loc`, for a suggestion."""
    names = [step for step in loc if isinstance(step, str)]
    key = "quota" if "uota" in str(names[:1]) else names[-1] if names else ""
    part = PARTS.get(key) if key else root
    return [str(field.alias) for field in part.model_fields.values()] if part else []
