"""Kubernetes quantities as exact integers: "500m" -> 500 milli-CPU, "2Gi" -> 2048 MiB. No float ever.

Grammar: k8s.io/apimachinery pkg/api/resource, `<number><suffix>` with n u m | k M G T P E | Ki Mi Gi Ti Pi Ei
| e<exponent>. A request that is no whole number of units rounds up, as the API server does, so a charge is
never too small. Amounts saturate at CEILING, the largest integer that a 64-bit store keeps: a sum that wraps
would be a way round the quota.
"""

from __future__ import annotations

import enum
import functools
import re
from typing import Final

from tenants.errors import QuantityError

CEILING: Final = 2**63 - 1


class Unlimited(enum.Enum):
    """The limit that is none. A word of its own, because a missing number must never read as "no limit"."""

    UNLIMITED = "unlimited"


UNLIMITED: Final = Unlimited.UNLIMITED
Limit = int | Unlimited


class Unit(enum.Enum):
    """What one counts: (units per 1 of the written quantity) as numerator and denominator."""

    MILLI = (1000, 1)
    MEBIBYTE = (1, 2**20)
    KIBIBYTE = (1, 2**10)
    KILOBIT = (1, 1000)
    COUNT = (1, 1)


UNITS: Final = {
    "cpu": Unit.MILLI,
    "memory": Unit.MEBIBYTE,
    "ephemeral-storage": Unit.MEBIBYTE,
    "nvidia.com/gpu": Unit.MILLI,  # fractions of a GPU are shared out, so a whole one counts 1000
    "disk-bandwidth": Unit.KIBIBYTE,  # per second; written in bytes
    "network-bandwidth": Unit.KILOBIT,  # per second; written in bits
    "pods": Unit.COUNT,
    "sandboxes": Unit.COUNT,
}

_QUANTITY = re.compile(r"\+?(\d+(?:\.\d*)?|\.\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d{1,3})?", re.ASCII)
_LONGEST = 100  # characters; int() refuses thousands of digits with an exception of its own
_LOOSE = re.compile(r"([\d.,]+)\s*([A-Za-z]*)", re.ASCII)
_BYTES_WORD = re.compile(r"[kmgtpe]i?b?(ytes?)?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def plus(one: int, other: int) -> int:
    """Sum that stops at plus or minus CEILING."""
    return max(-CEILING, min(one + other, CEILING))


def unit_of(resource: str) -> Unit:
    """Unit in which `resource` is counted; an extended resource without an entry counts whole pieces."""
    return UNITS.get(resource, Unit.COUNT)


@functools.lru_cache(maxsize=1 << 14)
def amount(resource: str, text: str | int) -> int:
    """`text` in the units of `resource`, rounded up.

    Raises:
        QuantityError: not a quantity, or negative.
    """
    return _scaled(str(text), *unit_of(resource).value)


def cpu_milli(text: str | int) -> int:
    """Milli-CPU; "500m" -> 500, 2 -> 2000, "0.1" -> 100."""
    return _scaled(str(text), *Unit.MILLI.value)


def gpu_milli(text: str | int) -> int:
    """Milli-GPU; 1 -> 1000."""
    return _scaled(str(text), *Unit.MILLI.value)


def mebibytes(text: str | int) -> int:
    """MiB, rounded up; "2Gi" -> 2048, "1G" -> 954, "1" -> 1."""
    return _scaled(str(text), *Unit.MEBIBYTE.value)


def bytes_(text: str | int) -> int:
    """Bytes, rounded up; "128974848", "129M" and "123Mi" are what the API server says they are."""
    return _scaled(str(text), *Unit.COUNT.value)


def render(resource: str, value: int) -> str:
    """The shortest quantity that reads back as `value` units of `resource`."""
    unit = unit_of(resource)
    if unit is Unit.MILLI:
        return str(value // 1000) if value % 1000 == 0 else f"{value}m"
    if unit is Unit.MEBIBYTE:
        return f"{value // 1024}Gi" if value and value % 1024 == 0 else f"{value}Mi"
    if unit is Unit.KIBIBYTE:
        return f"{value // 1024}Mi" if value and value % 1024 == 0 else f"{value}Ki"
    if unit is Unit.KILOBIT:
        return f"{value // 1000}M" if value and value % 1000 == 0 else f"{value}k"
    return str(value)


@functools.lru_cache(maxsize=65536)  # a cluster writes the same few hundred quantities over and over
def _scaled(text: str, numerator: int, denominator: int) -> int:
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise _not_a_quantity(text)
    number, suffix = match.group(1), match.group(2) or ""
    whole, _, fraction = number.partition(".")
    numerator *= int(whole + fraction or "0")
    exponent = -len(fraction)
    if suffix in _BINARY:
        numerator <<= _BINARY[suffix]
    elif suffix in _DECIMAL:
        exponent += _DECIMAL[suffix]
    else:
        exponent += int(suffix[1:])
    if exponent >= 0:
        numerator *= 10**exponent
    else:
        denominator *= 10**-exponent
    return min(-(-numerator // denominator), CEILING)


def _not_a_quantity(text: str) -> QuantityError:
    if len(text) > _LONGEST:
        return QuantityError(
            text[:20] + "…", f"is {len(text)} characters long, an amount has {_LONGEST} at most"
        )
    if text.strip().startswith("-"):
        return QuantityError(text, "is negative; an amount starts at 0")
    loose = _LOOSE.fullmatch(text.strip())
    if loose is None:
        return QuantityError(text, "is not a Kubernetes quantity such as 500m, 2 or 4Gi")
    number, word = loose.group(1).replace(",", "."), loose.group(2).lower()
    suffix = f"{word[0].upper()}i" if _BYTES_WORD.fullmatch(word) else ""
    suggestion = number + suffix
    if not _QUANTITY.fullmatch(suggestion):
        return QuantityError(text, "is not a Kubernetes quantity such as 500m, 2 or 4Gi")
    return QuantityError(text, "is not a Kubernetes quantity", suggestion)
