"""ResourceQuotas of a tenant's namespaces -> the max of its shares. Pure.

A ResourceQuota is a cap on one namespace and promises nothing: the guarantee is 0. The caps of several namespaces
add up. What a tenant file must say and no quota did is written as unlimited.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tenants.adopt.draft import Doubts, Object, known_resource, read_amount, spec_of
from tenants.model import DEFAULT_POOL, Allowance, Dimension
from tenants.quantity import plus

ALWAYS: Final = ("cpu", "memory")
_SPEC_READ: Final = ("hard",)
Caps = dict[str, int]


def caps(manifest: Object, hard: Mapping[str, Any], doubts: Doubts) -> Caps:
    """Resource -> cap in model units, as one `hard` states them."""
    found: Caps = {}
    for written, text in hard.items():
        resource = written.removeprefix("requests.")
        if (
            not known_resource(resource)
            or written.startswith(("limits.", "count/"))
            or ".storageclass." in written
        ):
            doubts.add(manifest, f"the limit on {written} has no counterpart in tenant files")
            continue
        value = read_amount(manifest, resource, text, doubts)
        if value is not None:
            found[resource] = min(value, found.get(resource, value))
    return found


def of_namespaces(quotas: Iterable[Object], namespaces: set[str], doubts: Doubts) -> Caps:
    """Sum over namespaces of the tightest cap in each; one namespace without a cap leaves the resource free."""
    by_namespace: defaultdict[str, Caps] = defaultdict(dict)
    for manifest in quotas:
        spec = spec_of(manifest)
        doubts.unread(manifest, spec, "spec.", _SPEC_READ)
        if spec.get("scopes") or spec.get("scopeSelector"):
            doubts.add(manifest, "counts some pods only: left out")
            continue
        here = by_namespace[manifest["metadata"].get("namespace", "default")]
        for resource, cap in caps(manifest, spec.get("hard") or {}, doubts).items():
            here[resource] = min(cap, here.get(resource, cap))
    total: Caps = {}
    for resource in sorted({resource for stated in by_namespace.values() for resource in stated}):
        stated = [by_namespace[name][resource] for name in namespaces if resource in by_namespace[name]]
        if len(stated) < len(namespaces):
            doubts.add(
                f"namespaces {', '.join(sorted(namespaces))}", f"not all limit {resource}: unlimited together"
            )
            continue
        for cap in stated:
            total[resource] = plus(total.get(resource, 0), cap)
    return total


def shares(found: Caps) -> dict[Dimension, Allowance]:
    """Caps as shares of the default pool; CPU and memory are always stated."""
    stated = {Dimension(DEFAULT_POOL, resource): Allowance(max=cap) for resource, cap in found.items()}
    missing = {Dimension(DEFAULT_POOL, resource): Allowance() for resource in ALWAYS}
    return missing | stated
