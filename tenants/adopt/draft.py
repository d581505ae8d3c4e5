"""A tenant while it is being put together, and what could not be taken over. Used by all of `adopt`.

Nothing is dropped in silence: whoever reads an object says which fields it read, and `unread` doubts the rest.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec

from tenants.errors import QuantityError
from tenants.model import (
    PRIORITY_LIMIT,
    Admin,
    Allowance,
    Dimension,
    Isolation,
    Network,
    Tenant,
    Trust,
)
from tenants.quantity import UNITS, amount

Object = Mapping[str, Any]
_NOT_LABEL: Final = re.compile(r"[^a-z0-9]+")
SYSTEM: Final = ("kube-", "default")


class Doubt(msgspec.Struct, frozen=True, order=True):
    """Something of an object that tenant files can't say, or that had to be decided."""

    object: str
    why: str

    def __str__(self) -> str:
        return f"{self.object}: {self.why}"


class Doubts:
    """Collects doubts, each once, in the order in which they came."""

    def __init__(self) -> None:
        self._found: dict[Doubt, None] = {}

    def add(self, manifest: Object | str, why: str) -> None:
        """Doubt something of an object."""
        self._found[Doubt(manifest if isinstance(manifest, str) else spell(manifest), why)] = None

    def unread(self, manifest: Object, part: Mapping[str, Any], path: str, read: Collection[str]) -> None:
        """Doubt every field of `part` that is set and not among those that were read."""
        for key, value in part.items():
            if key not in read and value not in (None, {}, [], ""):
                self.add(manifest, f"{path}{key} has no counterpart in tenant files")

    def all(self) -> tuple[Doubt, ...]:
        """What was doubted."""
        return tuple(self._found)


class Draft(msgspec.Struct, kw_only=True):
    """A tenant that is not finished; `source` is the object that it comes from."""

    name: str
    source: str
    parent: str = ""
    trust: Trust | None = None
    isolation: Isolation = Isolation()
    namespaces: set[str] = msgspec.field(default_factory=set)
    prefixes: set[str] = msgspec.field(default_factory=set)
    quota: dict[Dimension, Allowance] = msgspec.field(default_factory=dict)
    reclaim: bool = True
    ceiling: int | None = None
    network: Network | None = None
    admins: list[Admin] = msgspec.field(default_factory=list)

    def tenant(self, default_trust: Trust) -> Tenant:
        """The finished one; a namespace that its own prefix covers is not named again."""
        trust = self.trust or default_trust
        prefixes = tuple(sorted(self.prefixes))
        ceiling = 0 if trust is Trust.UNTRUSTED else PRIORITY_LIMIT
        return Tenant(
            name=self.name,
            parent=self.parent,
            trust=trust,
            isolation=self.isolation,
            namespaces=tuple(sorted(name for name in self.namespaces if not name.startswith(prefixes))),
            namespace_prefixes=prefixes,
            quota=self.quota,
            reclaim=self.reclaim,
            priority_ceiling=ceiling if self.ceiling is None else self.ceiling,
            network=self.network or Network(),
            admins=tuple(self.admins),
        )


def spell(manifest: Object) -> str:
    """Kind namespace/name."""
    meta = manifest["metadata"]
    place = f"{meta['namespace']}/" if meta.get("namespace") else ""
    return f"{manifest['kind']} {place}{meta['name']}"


def name_of(manifest: Object) -> str:
    """metadata.name."""
    return str(manifest["metadata"]["name"])


def labels_of(manifest: Object) -> Mapping[str, str]:
    """metadata.labels."""
    found: Mapping[str, str] = manifest["metadata"].get("labels") or {}
    return found


def spec_of(manifest: Object) -> dict[str, Any]:
    """spec."""
    return dict(manifest.get("spec") or {})


def label(name: str, taken: Collection[str], suffix: str) -> str:
    """The closest DNS label that is not taken; `suffix` tells two of one name apart."""
    plain = _NOT_LABEL.sub("-", name.lower())[:63].strip("-") or "unnamed"
    candidates = [plain, f"{plain[: 62 - len(suffix)]}-{suffix}"]
    candidates += [f"{plain[:58]}-{number}" for number in range(2, 10_000)]
    return next(one for one in candidates if one not in taken)


def is_system(namespace: str) -> bool:
    """Namespaces of the cluster itself, which no tenant owns."""
    return namespace == "default" or namespace.startswith("kube-")


def known_resource(name: str) -> bool:
    """Whether quota can be stated for it: one that we count, or an extended resource."""
    return name in UNITS or "/" in name


def read_amount(manifest: Object, resource: str, text: object, doubts: Doubts) -> int | None:
    """The amount in model units; None, and a doubt, if it is no quantity."""
    try:
        return amount(resource, str(text))
    except QuantityError as error:
        doubts.add(manifest, f"{resource}: {error}")
        return None


def of_kind(objects: Iterable[Object], kind: str, group: str) -> list[Object]:
    """The objects of a kind by name; `group` is the API group, empty for the core."""
    found = [one for one in objects if one["kind"] == kind and api_group(one) == group]
    return sorted(found, key=lambda one: (one["metadata"].get("namespace", ""), name_of(one)))


def api_group(manifest: Object) -> str:
    """Group of apiVersion; empty for v1."""
    group, _, version = str(manifest["apiVersion"]).rpartition("/")
    return group if version else ""
