"""The scalar fields of tenant files: what each accepts, and what it says when it does not. Pure.

A field that is wrong raises a PydanticCustomError whose type is the `Kind` of the problem; `decode` turns all
of them into Problems with a place.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

from tenants.errors import QuantityError
from tenants.files.problem import Kind, did_you_mean, quoted
from tenants.model import PRIORITY_LIMIT, Cores, CoResidency, Runtime, Trust
from tenants.quantity import UNITS, amount

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_QUALIFIED: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_NAME: Final = re.compile(_LABEL, re.ASCII)
_SUBDOMAIN: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*", re.ASCII)
_PATTERN: Final = re.compile(rf"{_LABEL}|[a-z0-9][-a-z0-9]{{0,61}}\*", re.ASCII)
_PORT_NAME: Final = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?", re.ASCII)
_LABEL_KEY: Final = re.compile(rf"([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_QUALIFIED}", re.ASCII)
_CIDR: Final = re.compile(r"[0-9A-Fa-f:.]+/(0|[1-9][0-9]{0,2})", re.ASCII)
_CLUSTERS_OWN: Final = ("default", "bulkhead-system")
_CLUSTERS_PREFIX: Final = "kube-"
_ALIASES: Final = {"gpu": "nvidia.com/gpu"}


def refusal(kind: Kind, why: str, suggestion: str = "") -> PydanticCustomError:
    """The error that a validator raises; `why` is a parameter since its braces would be a template."""
    return PydanticCustomError(kind.value, "{why}", {"why": why, "suggestion": suggestion})


def describe(value: Any) -> str:
    """What a value is, in a word that a user of YAML knows."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a boolean"
    return {dict: "a mapping", list: "a list", str: "text", int: "a number"}.get(
        type(value), "something else"
    )


def canonical(written: str) -> str:
    """Name of a resource: ResourceQuota's `requests.cpu` and the short `gpu` mean what they say."""
    name = written.removeprefix("requests.")
    return _ALIASES.get(name, name)


def spellings(resource: str) -> list[str]:
    """Every way to write a canonical name."""
    short = [alias for alias, meant in _ALIASES.items() if meant == resource]
    return [spelling for name in (resource, *short) for spelling in (name, f"requests.{name}")]


@functools.lru_cache(maxsize=4096)
def address_block(text: str) -> IpNetwork | None:
    """NetworkPolicy takes host bits (10.10.1.12/24) but no address without a length, no zone and no netmask."""
    try:
        return ipaddress.ip_network(text, strict=False) if _CIDR.fullmatch(text) else None
    except ValueError:
        return None


def belongs_to_cluster(pattern: str) -> bool:
    """Whether a namespace, or any that a prefix such as kub* covers, is the cluster's or Bulkhead's own."""
    stem = pattern.removesuffix("*")
    if stem == pattern:
        return pattern in _CLUSTERS_OWN or pattern.startswith(_CLUSTERS_PREFIX)
    covered = any(name.startswith(stem) for name in (*_CLUSTERS_OWN, _CLUSTERS_PREFIX))
    return covered or stem.startswith(_CLUSTERS_PREFIX)


def _text(value: Any) -> str:
    if isinstance(value, str):
        if value.isprintable():
            return value
        raise refusal(Kind.WRONG_VALUE, f"{quoted(value)} has a character that can't be printed")
    if isinstance(value, int):
        word = str(value).lower() if isinstance(value, bool) else str(value)
        raise refusal(Kind.WRONG_TYPE, f"{word} is {describe(value)}, a word is needed", f'write "{word}"')
    raise refusal(Kind.WRONG_TYPE, f"{describe(value)} where a word is needed")


def _name(value: Any) -> str:
    text = _text(value)
    if _NAME.fullmatch(text):
        return text
    fixed = re.sub(r"[^a-z0-9]+", "-", text[:200].lower()).strip("-")[:63].strip("-")
    hint = f"for example {fixed!r}" if fixed else ""
    raise refusal(Kind.NAME, f"{quoted(text)} is not a DNS label (a-z, 0-9, -, at most 63)", hint)


def _subdomain(value: Any) -> str:
    text = _text(value)
    if _SUBDOMAIN.fullmatch(text):
        return text
    raise refusal(Kind.NAME, f"{quoted(text)} is not a DNS subdomain (a-z, 0-9, -, .)")


def _pattern(value: Any) -> str:
    text = _text(value)
    if not _PATTERN.fullmatch(text):
        why = f"{quoted(text)} is neither a namespace name nor a prefix such as team-a-*"
        raise refusal(Kind.NAME, why)
    if belongs_to_cluster(text):
        raise refusal(Kind.NAME, f"{text!r} belongs to the cluster, not to a tenant")
    return text


def _label_key(value: Any) -> str:
    text = _text(value)
    if _LABEL_KEY.fullmatch(text):
        return text
    raise refusal(Kind.NAME, f"{quoted(text)} is not a label key such as example.com/zone")


def _label_value(value: Any) -> str:
    text = _text(value)
    if text == "" or re.fullmatch(_QUALIFIED, text, re.ASCII):
        return text
    raise refusal(Kind.NAME, f"{quoted(text)} is not a label value (letters, digits, -, _, ., at most 63)")


def _written(value: Any) -> str:
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise refusal(Kind.WRONG_TYPE, f"{describe(value)} where an amount such as 4 or 16Gi is needed")
    try:
        amount("", value)  # every unit accepts the same texts
    except QuantityError as error:
        hint = f"did you mean {error.suggestion!r}?" if error.suggestion else ""
        raise refusal(Kind.QUANTITY, f"{quoted(error.text)} {error.why}", hint) from None
    return str(value)


def _written_limit(value: Any) -> str:
    return value if isinstance(value, str) and value == "unlimited" else _written(value)


def _resource(value: Any) -> str:
    name = canonical(str(value))
    if name in UNITS or (_LABEL_KEY.fullmatch(name) and "/" in name):
        return str(value)
    hint = did_you_mean(name, [*UNITS, *_ALIASES])
    raise refusal(Kind.UNKNOWN_FIELD, f"unknown resource {quoted(value)}", hint)


def _port(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool):
        if 1 <= value <= 65535:
            return value
        raise refusal(Kind.PORT, f"port {value} is outside 1-65535")
    if isinstance(value, str) and _PORT_NAME.fullmatch(value):
        return value
    hint = f"write {value} without quotes" if isinstance(value, str) and value.isdecimal() else ""
    raise refusal(
        Kind.PORT, f"{quoted(value)} is neither a port number nor the name of a container port", hint
    )


def _end_port(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    raise refusal(Kind.PORT, f"endPort {quoted(value)} is no number in 1-65535")


def _cidr(value: Any) -> str:
    text = _text(value)
    block = address_block(text)
    if block is None:
        hint = f"did you mean '{text}/{_host_bits(text)}'?" if _host_bits(text) else ""
        raise refusal(Kind.CIDR, f"{quoted(text)} is not an address block such as 10.0.0.0/8", hint)
    if isinstance(block, ipaddress.IPv6Network) and block.network_address.ipv4_mapped:
        raise refusal(Kind.CIDR, f"{quoted(text)} is an IPv4 block in IPv6 letters", "write it as IPv4")
    return text


def _host_bits(text: str) -> int:
    """Length of a single address, 0 where the text is none."""
    try:
        return ipaddress.ip_address(text).max_prefixlen if "%" not in text else 0
    except ValueError:
        return 0


def _one_of(*patterns: str) -> str:
    return f"^({'|'.join(patterns)})$"


_OWN_STEMS: Final = [
    word[:length] for word in (*_CLUSTERS_OWN, _CLUSTERS_PREFIX) for length in range(1, len(word) + 1)
]
_NOT_THE_CLUSTERS: Final = (
    rf"(?!{_CLUSTERS_PREFIX}|({'|'.join(_CLUSTERS_OWN)})$|({'|'.join(dict.fromkeys(_OWN_STEMS))})\*$)"
)
_UNSIGNED: Final = r"\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,3})?"
_RESOURCE: Final = _one_of(
    *(
        re.escape(spelling).replace(r"\-", "-").replace("/", r"\/")
        for name in UNITS
        for spelling in spellings(name)
    ),
    rf"(requests\.)?[a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?\/{_QUALIFIED}",
)

Name = Annotated[
    str, BeforeValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{_LABEL}$", "maxLength": 63})
]
Subdomain = Annotated[
    str,
    BeforeValidator(_subdomain),
    WithJsonSchema({"type": "string", "pattern": rf"^{_LABEL}(\.{_LABEL})*$", "maxLength": 253}),
]
NamespacePattern = Annotated[
    str,
    BeforeValidator(_pattern),
    WithJsonSchema(
        {"type": "string", "pattern": rf"^{_NOT_THE_CLUSTERS}({_LABEL}|[a-z0-9][-a-z0-9]{{0,61}}\*)$"}
    ),
]
_PRINTABLE: Final = r"^[^\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]*$"
Text = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": "string", "pattern": _PRINTABLE})]
LabelKey = Annotated[
    str,
    BeforeValidator(_label_key),
    WithJsonSchema({"type": "string", "pattern": rf"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?{_QUALIFIED}$"}),
]
LabelValue = Annotated[
    str, BeforeValidator(_label_value), WithJsonSchema({"type": "string", "pattern": rf"^({_QUALIFIED})?$"})
]
ResourceName = Annotated[
    str, BeforeValidator(_resource), WithJsonSchema({"type": "string", "pattern": _RESOURCE})
]
QUANTITY_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": f"^{_UNSIGNED}$", "maxLength": 100},
    ]
}
Written = Annotated[str, BeforeValidator(_written), WithJsonSchema(QUANTITY_SCHEMA)]
WrittenLimit = Annotated[
    str,
    BeforeValidator(_written_limit),
    WithJsonSchema({"anyOf": [*QUANTITY_SCHEMA["anyOf"], {"const": "unlimited"}]}),
]
PORT_NUMBER_SCHEMA: Final[dict[str, Any]] = {"type": "integer", "minimum": 1, "maximum": 65535}
PortNumberOrName = Annotated[
    int | str,
    BeforeValidator(_port),
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
EndPort = Annotated[int, BeforeValidator(_end_port), WithJsonSchema(PORT_NUMBER_SCHEMA)]
Cidr = Annotated[
    str,
    BeforeValidator(_cidr),
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
