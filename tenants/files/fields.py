"""The scalar fields of tenant files: what each accepts, and what it says when it does not. Pure.

A field that is wrong raises a PydanticCustomError whose type is the `Kind` of the problem; `decode` turns all
of them into Problems with a place.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

from tenants.files.problem import Kind
from tenants.model import PRIORITY_LIMIT, Cores, CoResidency, Runtime, Trust

_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NAME: Final = re.compile(_LABEL, re.ASCII)
_PATTERN: Final = re.compile(rf"{_LABEL}|[a-z0-9][-a-z0-9]{{0,61}}\*", re.ASCII)
_PORT_NAME: Final = re.compile(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?", re.ASCII)


def refusal(kind: Kind, why: str, suggestion: str = "") -> PydanticCustomError:
    """The error that a validator raises; `why` is a parameter since its braces would be a template."""
    return PydanticCustomError(kind.value, "{why}", {"why": why, "suggestion": suggestion})


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        raise refusal(Kind.WRONG_TYPE, f"{value} is a number, a word is needed", f'write "{value}"')
    raise refusal(Kind.WRONG_TYPE, f"{_describe(value)} where a word is needed")


def _describe(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a boolean"
    return {dict: "a mapping", list: "a list", str: "text", int: "a number"}[type(value)]


def _name(value: Any) -> str:
    text = _text(value)
    if _NAME.fullmatch(text):
        return text
    fixed = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")
    hint = f"for example {fixed!r}" if fixed else ""
    raise refusal(Kind.NAME, f"{text!r} is not a DNS label (a-z, 0-9, -, at most 63)", hint)


def _pattern(value: Any) -> str:
    text = _text(value)
    if not _PATTERN.fullmatch(text):
        raise refusal(Kind.NAME, f"{text!r} is neither a namespace name nor a prefix such as team-a-*")
    if text.removesuffix("*").startswith("kube-") or text == "default":
        raise refusal(Kind.NAME, f"{text!r} belongs to the cluster, not to a tenant")
    return text


def _written(value: Any) -> str:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    raise refusal(Kind.WRONG_TYPE, f"{_describe(value)} where an amount such as 4 or 16Gi is needed")


def _port(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool):
        if 1 <= value <= 65535:
            return value
        raise refusal(Kind.PORT, f"port {value} is outside 1-65535")
    if isinstance(value, str) and _PORT_NAME.fullmatch(value):
        return value
    raise refusal(Kind.PORT, f"{value!r} is neither a port number nor the name of a container port")


Name = Annotated[
    str, BeforeValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{_LABEL}$", "maxLength": 63})
]
NamespacePattern = Annotated[
    str,
    BeforeValidator(_pattern),
    WithJsonSchema(
        {"type": "string", "pattern": rf"^(?!kube-|default$)({_LABEL}|[a-z0-9][-a-z0-9]{{0,61}}\*)$"}
    ),
]
Text = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": "string"})]
QUANTITY_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "number", "minimum": 0},
        {
            "type": "string",
            "pattern": r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,3})?$",
        },
    ]
}
Written = Annotated[str, BeforeValidator(_written), WithJsonSchema(QUANTITY_SCHEMA)]
WrittenLimit = Annotated[
    str,
    BeforeValidator(_written),
    WithJsonSchema({"anyOf": [*QUANTITY_SCHEMA["anyOf"], {"const": "unlimited"}]}),
]
PortNumberOrName = Annotated[
    int | str,
    BeforeValidator(_port),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"type": "string"}]}),
]
Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=0)]
Weight = Annotated[int, Strict(), Field(ge=1, le=1_000_000)]
Priority = Annotated[int, Strict(), Field(ge=-PRIORITY_LIMIT, le=PRIORITY_LIMIT)]
TrustWord = Annotated[Trust, Strict(strict=False)]
RuntimeWord = Annotated[Runtime, Strict(strict=False)]
CoResidencyWord = Annotated[CoResidency, Strict(strict=False)]
CoresWord = Annotated[Cores, Strict(strict=False)]
