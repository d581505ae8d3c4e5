"""One document with positions -> its typed kind, and every problem of its shape at once. Pure.

Called by `load` for each document. This is the only place that knows pydantic's error types. What is wrong in
a document is left out and the rest is still decoded, so that the rules across documents can judge it in the
same run.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tenants.files.kinds import KINDS, PARTS, AnyFile
from tenants.files.positions import Document, Loc
from tenants.files.problem import Kind, Problem, did_you_mean, quoted
from tenants.files.scalars import RESOURCES, canonical, describe

MAX_PROBLEMS: Final = 200  # of one document; a thousand messages are no better than two hundred
_OWN_KINDS: Final = {kind.value for kind in Kind}
_NEEDED: Final = {
    "model_type": "a mapping", "dict_type": "a mapping", "list_type": "a list", "bool_type": "true or false",
    "int_type": "a whole number",
}  # fmt: skip
_AS_KEY: Final = "[key]"  # pydantic's last step when the key of a mapping is wrong
_SHARES: Final = ("quota", "runtimeQuota")


class Declared(NamedTuple):
    """A document, its typed contents, and what was left out because it is wrong.

    `broken` holds the places left out, `holed` those that have one below.
    """

    document: Document
    file: AnyFile
    broken: frozenset[Loc] = frozenset()
    holed: frozenset[Loc] = frozenset()

    def lacks(self, *loc: str | int) -> bool:
        """Whether anything at, above or below `loc` was left out, so that a rule can't judge it."""
        return loc in self.holed or any(loc[:steps] in self.broken for steps in range(1, len(loc) + 1))


class Decoded(NamedTuple):
    """`declared` is None where not even the kind and the name are known."""

    declared: Declared | None
    problems: list[Problem]


def decode(document: Document) -> Decoded:
    """Check the shape of one document."""
    model = _model(document)
    if isinstance(model, Problem):
        return Decoded(None, [model])
    try:
        return Decoded(Declared(document, model.model_validate(document.value)), [])
    except ValidationError as error:
        found = error.errors(include_url=False)
    problems = [_problem(document, model, one) for one in found[:MAX_PROBLEMS]]
    if len(found) > MAX_PROBLEMS:
        more = f"and {len(found) - MAX_PROBLEMS} more problems in this document"
        problems.append(document.problem((), problems[-1].kind, more))
    gaps = {_gap(document.written(one["loc"])) for one in found} - {()}
    return Decoded(_without(document, model, gaps), problems)


def _model(document: Document) -> type[AnyFile] | Problem:
    if not isinstance(document.value, dict):
        why = f"a mapping with apiVersion, kind and name is needed, this is {describe(document.value)}"
        return document.problem((), Kind.WRONG_TYPE, why)
    kind = document.value.get("kind")
    if kind is None:
        why = "this field is needed to know what the document is"
        return document.problem(("kind",), Kind.MISSING_FIELD, why, did_you_mean("", KINDS))
    if not isinstance(kind, str) or kind not in KINDS:
        hint = did_you_mean(str(kind), KINDS) if isinstance(kind, str) else did_you_mean("", KINDS)
        return document.problem(("kind",), Kind.UNKNOWN_KIND, f"unknown kind {quoted(kind)}", hint)
    return KINDS[kind]


def _gap(loc: Loc) -> Loc:
    """The part to leave out: never one entry of a list, since that would move the places of the others, and
    of a share nothing less than all of it, since half a share means something else.
    """
    if loc[:1] and loc[0] in _SHARES:
        return loc[:3]
    while loc and isinstance(loc[-1], int):
        loc = loc[:-1]
    return loc


def _without(document: Document, model: type[AnyFile], gaps: set[Loc]) -> Declared | None:
    """The document without these parts; where one of them was needed, without the field that it is in."""
    for wide in (gaps, {gap[:1] for gap in gaps}):
        rest = _pruned(document.value, wide, ())
        rest.setdefault("apiVersion", _api_version(model))
        try:
            file = model.model_validate(rest)
        except ValidationError:
            continue
        holed = frozenset(gap[:steps] for gap in wide for steps in range(1, len(gap)))
        return Declared(document, file, frozenset(wide), holed)
    return None


def _pruned(value: Any, gaps: set[Loc], loc: Loc) -> Any:
    if isinstance(value, dict):
        return {
            key: _pruned(part, gaps, (*loc, key)) for key, part in value.items() if (*loc, key) not in gaps
        }
    if isinstance(value, list):
        return [_pruned(part, gaps, (*loc, index)) for index, part in enumerate(value)]
    return value


def _api_version(model: type[BaseModel]) -> str:
    return str(get_args(model.model_fields["api_version"].annotation)[0])


def _problem(document: Document, root: type[BaseModel], found: ErrorDetails) -> Problem:
    at_key = found["loc"][-1:] == (_AS_KEY,)
    loc = found["loc"][:-1] if at_key else found["loc"]
    if found["type"] == "missing":
        hint = f"write apiVersion: {_api_version(root)}" if loc == ("apiVersion",) else ""
        return document.problem(loc, Kind.MISSING_FIELD, "this field is needed", hint)
    if found["type"] == "extra_forbidden":
        hint = did_you_mean(str(loc[-1]), _fields_at(root, loc[:-1]))
        return document.problem(loc, Kind.UNKNOWN_FIELD, "unknown field", hint, key=True)
    kind, why, hint = _explained(found)
    return document.problem(document.written(loc), kind, why, hint, key=at_key)


def _explained(found: ErrorDetails) -> tuple[Kind, str, str]:
    """Class, reason and suggestion of an error about a value."""
    name, value, context = found["type"], found["input"], found.get("ctx", {})
    if name == Kind.UNKNOWN_FIELD:  # compared here, where only the first problems arrive, since it takes long
        return Kind(name), context["why"], did_you_mean(canonical(value), RESOURCES)
    if name in _OWN_KINDS:
        return Kind(name), context["why"], context["suggestion"]
    if name in {"enum", "literal_error"}:
        known = [word.strip("' ") for word in context["expected"].replace(" or ", ",").split(",")]
        hint = did_you_mean(value if isinstance(value, str) else "", known)
        return Kind.WRONG_VALUE, f"{quoted(value)} is not a value of this field", hint
    if name == "greater_than_equal":
        return Kind.WRONG_VALUE, f"{value} is too small, {context['ge']} is the least", ""
    if name == "less_than_equal":
        return Kind.WRONG_VALUE, f"{value} is too big, {context['le']} is the most", ""
    if name in _NEEDED:
        return Kind.WRONG_TYPE, f"{_NEEDED[name]} is needed, this is {describe(value)}", ""
    return Kind.WRONG_TYPE, found["msg"][:1].lower() + found["msg"][1:], ""


def _fields_at(root: type[BaseModel], loc: Loc) -> list[str]:
    """Names of the fields of the part at `loc`, for a suggestion."""
    part = root
    for step in loc:
        if isinstance(step, str) and step in PARTS and step in _aliases(part):
            part = PARTS[step]
    return _aliases(part)


def _aliases(part: type[BaseModel]) -> list[str]:
    return [str(field.alias) for field in part.model_fields.values()]
