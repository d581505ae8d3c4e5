"""What our own rendered objects still know of the tenant files that made them. Pure.

The facts of the admission policies name tenants, trust and namespaces; RoleBindings the administrators. Guarantees,
groups, pools and neighbours are in no object: those come back only from the record of the last apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tenants.adopt import quotas
from tenants.adopt.draft import Doubts, Draft, Object, labels_of, name_of, of_kind, read_amount, spec_of
from tenants.manifests.admission.facts import FACTS_GROUP, FACTS_KIND, FACTS_NAME
from tenants.manifests.objects import MANAGED_BY, OWNER, TENANT_LABEL
from tenants.model import (
    SANDBOX_HANDLER,
    Admin,
    Allowance,
    Dimension,
    Isolation,
    Runtime,
    RuntimeClass,
    Trust,
)

_RBAC: Final = "rbac.authorization.k8s.io"
_CLASS_READ: Final = ("apiVersion", "kind", "metadata", "handler", "overhead", "scheduling")


def is_ours(manifest: Object) -> bool:
    """Whether it carries our mark."""
    return labels_of(manifest).get(MANAGED_BY) == OWNER


def drafts(objects: Iterable[Object], doubts: Doubts) -> dict[str, Draft]:
    """A draft for each tenant that the facts name."""
    everything = [one for one in objects if is_ours(one)]
    facts: Mapping[str, Any] = next(
        (spec_of(one) for one in of_kind(everything, FACTS_KIND, FACTS_GROUP) if name_of(one) == FACTS_NAME),
        {},
    )
    sandboxes = {name_of(one) for one in of_kind(everything, "RuntimeClass", "node.k8s.io")
                 if one.get("handler") == SANDBOX_HANDLER}  # fmt: skip
    found = {name: _draft(name, facts, sandboxes) for name in facts.get("tenants") or ()}
    for draft in found.values():
        draft.quota = _shares(everything, draft.name)
        draft.admins = _admins(everything, draft.name)
        doubts.add(
            draft.source, "guarantees, groups, pools and neighbours are in no object, only in the record"
        )
    return found


def runtime_class(manifest: Object, doubts: Doubts) -> RuntimeClass:
    """Any RuntimeClass, ours or not: tenant files hold them as they are."""
    doubts.unread(manifest, manifest, "", _CLASS_READ)
    fixed = (manifest.get("overhead") or {}).get("podFixed") or {}
    doubts.unread(manifest, fixed, "overhead.podFixed.", ("cpu", "memory"))
    where = manifest.get("scheduling") or {}
    return RuntimeClass(
        name=name_of(manifest),
        handler=str(manifest["handler"]),
        overhead_cpu_milli=read_amount(manifest, "cpu", fixed.get("cpu", "0"), doubts) or 0,
        overhead_memory_mib=read_amount(manifest, "memory", fixed.get("memory", "0"), doubts) or 0,
        node_selector=dict(where.get("nodeSelector") or {}),
        tolerations=tuple(
            {key: str(value) for key, value in one.items()} for one in where.get("tolerations") or ()
        ),
    )


def _draft(name: str, facts: Mapping[str, Any], sandboxes: set[str]) -> Draft:
    stated = facts["tenants"][name]
    trust = Trust(stated["trust"])
    runtime = Runtime.AUTO
    if trust is Trust.TRUSTED and stated["sandboxRequired"]:
        runtime = Runtime.BULKHEAD
    elif trust is Trust.TRUSTED and sandboxes and not sandboxes & set(stated["runtimeClasses"]):
        runtime = Runtime.RUNC
    return Draft(
        name=name,
        source=f"tenant {name} as applied",
        trust=trust,
        isolation=Isolation(runtime=runtime),
        namespaces={namespace for namespace, owner in facts["namespaces"].items() if owner == name},
        prefixes={prefix for prefix, owner in facts["prefixes"].items() if owner == name},
        ceiling=int(stated["priorityCeiling"]),
    )


def _shares(objects: list[Object], tenant: str) -> dict[Dimension, Allowance]:
    """Each namespace's quota states the max of the whole tenant, so they are not added up."""
    caps: quotas.Caps = {}
    for manifest in of_kind(objects, "ResourceQuota", ""):
        if labels_of(manifest).get(TENANT_LABEL) == tenant and not spec_of(manifest).get("scopeSelector"):
            caps |= quotas.caps(manifest, _own_limits(spec_of(manifest).get("hard") or {}), Doubts())
    return quotas.shares(caps)


def _own_limits(hard: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those that say what a tenant file said; counts of objects are the same for every untrusted tenant."""
    return {key: value for key, value in hard.items() if key == "pods" or key.startswith("requests.")}


def _admins(objects: list[Object], tenant: str) -> list[Admin]:
    found: dict[Admin, None] = {}
    for manifest in of_kind(objects, "RoleBinding", _RBAC):
        if labels_of(manifest).get(TENANT_LABEL) != tenant:
            continue
        for subject in manifest.get("subjects") or ():
            home = str(subject.get("namespace", ""))
            own = home == manifest["metadata"].get("namespace")
            found[Admin(kind=subject["kind"], name=subject["name"], namespace="" if own else home)] = None
    return list(found)
