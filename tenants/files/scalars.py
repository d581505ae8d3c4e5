"""What the scalars of tenant files may be, and what is said about one that is not. Pure.

Each `read_*` takes a value as YAML gave it and returns it, or raises a PydanticCustomError whose type is the
`Kind` of the problem; `fields` makes them the types of the models' fields.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import Any, Final

from pydantic_core import PydanticCustomError

from tenants.errors import QuantityError
from tenants.files.problem import Kind, quoted
from tenants.quantity import UNITS, amount

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
QUALIFIED: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_NAME: Final = re.compile(LABEL, re.ASCII)
_SUBDOMAIN: Final = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*", re.ASCII)
_PATTERN: Final = re.compile(rf"{LABEL}|[a-z0-9][-a-z0-9]{{0,61}}\*", re.ASCII)
_PORT_NAME: Final = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?", re.ASCII)
_LABEL_KEY: Final = re.compile(rf"([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{QUALIFIED}", re.ASCII)
_CIDR: Final = re.compile(r"[0-9A-Fa-f:.]+/(0|[1-9][0-9]{0,2})", re.ASCII)
CLUSTERS_OWN: Final = ("default", "bulkhead-system")
CLUSTERS_PREFIX: Final = "kube-"
_ALIASES: Final = {"gpu": "nvidia.com/gpu"}
RESOURCES: Final = (*UNITS, *_ALIASES)


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
        return pattern in CLUSTERS_OWN or pattern.startswith(CLUSTERS_PREFIX)
    covered = any(name.startswith(stem) for name in (*CLUSTERS_OWN, CLUSTERS_PREFIX))
    return covered or stem.startswith(CLUSTERS_PREFIX)


def read_text(value: Any) -> str:
    """Any text that can be printed."""
    if isinstance(value, str):
        if value.isprintable():
            return value
        raise refusal(Kind.WRONG_VALUE, f"{quoted(value)} has a character that can't be printed")
    if isinstance(value, int):
        word = str(value).lower() if isinstance(value, bool) else str(value)
        raise refusal(Kind.WRONG_TYPE, f"{word} is {describe(value)}, a word is needed", f'write "{word}"')
    raise refusal(Kind.WRONG_TYPE, f"{describe(value)} where a word is needed")


def read_name(value: Any) -> str:
    """A DNS label."""
    text = read_text(value)
    if _NAME.fullmatch(text):
        return text
    fixed = re.sub(r"[^a-z0-9]+", "-", text[:200].lower()).strip("-")[:63].strip("-")
    hint = f"for example {fixed!r}" if fixed else ""
    raise refusal(Kind.NAME, f"{quoted(text)} is not a DNS label (a-z, 0-9, -, at most 63)", hint)


def read_subdomain(value: Any) -> str:
    """A DNS subdomain, as names of cluster objects are."""
    text = read_text(value)
    if _SUBDOMAIN.fullmatch(text):
        return text
    raise refusal(Kind.NAME, f"{quoted(text)} is not a DNS subdomain (a-z, 0-9, -, .)")


def read_pattern(value: Any) -> str:
    """A namespace, or a prefix of namespaces with * at its end."""
    text = read_text(value)
    if not _PATTERN.fullmatch(text):
        why = f"{quoted(text)} is neither a namespace name nor a prefix such as team-a-*"
        raise refusal(Kind.NAME, why)
    if belongs_to_cluster(text):
        raise refusal(Kind.NAME, f"{text!r} belongs to the cluster, not to a tenant")
    return text


def read_label_key(value: Any) -> str:
    """A key of a Kubernetes label."""
    text = read_text(value)
    if _LABEL_KEY.fullmatch(text):
        return text
    raise refusal(Kind.NAME, f"{quoted(text)} is not a label key such as example.com/zone")


def read_label_value(value: Any) -> str:
    """A value of a Kubernetes label."""
    text = read_text(value)
    if text == "" or re.fullmatch(QUALIFIED, text, re.ASCII):
        return text
    raise refusal(Kind.NAME, f"{quoted(text)} is not a label value (letters, digits, -, _, ., at most 63)")


def read_written(value: Any) -> str:
    """An amount as it is written."""
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise refusal(Kind.WRONG_TYPE, f"{describe(value)} where an amount such as 4 or 16Gi is needed")
    try:
        amount("", value)  # every unit accepts the same texts
    except QuantityError as error:
        hint = f"did you mean {error.suggestion!r}?" if error.suggestion else ""
        raise refusal(Kind.QUANTITY, f"{quoted(error.text)} {error.why}", hint) from None
    return str(value)


def read_written_limit(value: Any) -> str:
    """The same, or `unlimited`."""
    return value if isinstance(value, str) and value == "unlimited" else read_written(value)


def read_resource(value: Any) -> str:
    """The name of a resource, in any of its spellings."""
    name = canonical(str(value))
    if name in UNITS or (_LABEL_KEY.fullmatch(name) and "/" in name):
        return str(value)
    raise refusal(Kind.UNKNOWN_FIELD, f"unknown resource {quoted(value)}")


def read_port(value: Any) -> int | str:
    """A port by number or name."""
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


def read_end_port(value: Any) -> int:
    """The last port of a range."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    raise refusal(Kind.PORT, f"endPort {quoted(value)} is no number in 1-65535")


def read_cidr(value: Any) -> str:
    """An address block."""
    text = read_text(value)
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
