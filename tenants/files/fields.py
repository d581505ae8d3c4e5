"""The types of the scalar fields: how the loader reads each (`scalars`) and what the JSON Schema says of it. Pure.

The two stand side by side so that they stay the same; tests hold them to each other.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, Strict, WithJsonSchema

from tenants.files import scalars
from tenants.model import PRIORITY_LIMIT, Cores, CoResidency, Runtime, Trust
from tenants.quantity import UNITS


def _one_of(*patterns: str) -> str:
    return f"^({'|'.join(patterns)})$"


_OWN: Final = (*scalars.CLUSTERS_OWN, scalars.CLUSTERS_PREFIX)
_STEMS: Final = "|".join(dict.fromkeys(word[:length] for word in _OWN for length in range(1, len(word) + 1)))
_NOT_THE_CLUSTERS: Final = rf"(?!{scalars.CLUSTERS_PREFIX}|({'|'.join(scalars.CLUSTERS_OWN)})$|({_STEMS})\*$)"
_UNSIGNED: Final = r"\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,3})?"
_RESOURCE: Final = _one_of(
    *(
        re.escape(spelling).replace(r"\-", "-").replace("/", r"\/")
        for name in UNITS
        for spelling in scalars.spellings(name)
    ),
    rf"(requests\.)?[a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?\/{scalars.QUALIFIED}",
)

Name = Annotated[
    str,
    BeforeValidator(scalars.read_name),
    WithJsonSchema({"type": "string", "pattern": f"^{scalars.LABEL}$", "maxLength": 63}),
]
Subdomain = Annotated[
    str,
    BeforeValidator(scalars.read_subdomain),
    WithJsonSchema(
        {"type": "string", "pattern": rf"^{scalars.LABEL}(\.{scalars.LABEL})*$", "maxLength": 253}
    ),
]
NamespacePattern = Annotated[
    str,
    BeforeValidator(scalars.read_pattern),
    WithJsonSchema(
        {"type": "string", "pattern": rf"^{_NOT_THE_CLUSTERS}({scalars.LABEL}|[a-z0-9][-a-z0-9]{{0,61}}\*)$"}
    ),
]
_PRINTABLE: Final = r"^[^\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]*$"
Text = Annotated[
    str, BeforeValidator(scalars.read_text), WithJsonSchema({"type": "string", "pattern": _PRINTABLE})
]
LabelKey = Annotated[
    str,
    BeforeValidator(scalars.read_label_key),
    WithJsonSchema(
        {"type": "string", "pattern": rf"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?{scalars.QUALIFIED}$"}
    ),
]
LabelValue = Annotated[
    str,
    BeforeValidator(scalars.read_label_value),
    WithJsonSchema({"type": "string", "pattern": rf"^({scalars.QUALIFIED})?$"}),
]
ResourceName = Annotated[
    str, BeforeValidator(scalars.read_resource), WithJsonSchema({"type": "string", "pattern": _RESOURCE})
]
QUANTITY_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": f"^{_UNSIGNED}$", "maxLength": 100},
    ]
}
Written = Annotated[str, BeforeValidator(scalars.read_written), WithJsonSchema(QUANTITY_SCHEMA)]
WrittenLimit = Annotated[
    str,
    BeforeValidator(scalars.read_written_limit),
    WithJsonSchema({"anyOf": [*QUANTITY_SCHEMA["anyOf"], {"const": "unlimited"}]}),
]
PORT_NUMBER_SCHEMA: Final[dict[str, Any]] = {"type": "integer", "minimum": 1, "maximum": 65535}
PortNumberOrName = Annotated[
    int | str,
    BeforeValidator(scalars.read_port),
    WithJsonSchema(
        {
            "anyOf": [
                PORT_NUMBER_SCHEMA,
                {"type": "string", "maxLength": 15,
                 "pattern": "^(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
            ]
        }
    ),
]  # fmt: skip
EndPort = Annotated[int, BeforeValidator(scalars.read_end_port), WithJsonSchema(PORT_NUMBER_SCHEMA)]
Cidr = Annotated[
    str,
    BeforeValidator(scalars.read_cidr),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": _one_of(
                r"([0-9]{1,3}\.){3}[0-9]{1,3}\/([0-9]|[12][0-9]|3[0-2])",
                r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\/(0|[1-9][0-9]?|1[01][0-9]|12[0-8])",
            ),
        }
    ),
]
Flag = Annotated[bool, Strict()]
AtLeastOne = Annotated[int, Strict(), Field(ge=1)]
Weight = Annotated[int, Strict(), Field(ge=1, le=1_000_000)]
Priority = Annotated[int, Strict(), Field(ge=-PRIORITY_LIMIT, le=PRIORITY_LIMIT)]
TrustWord = Annotated[Trust, Strict(strict=False)]
RuntimeWord = Annotated[Runtime, Strict(strict=False)]
CoResidencyWord = Annotated[CoResidency, Strict(strict=False)]
CoresWord = Annotated[Cores, Strict(strict=False)]
