"""Capsule's Tenant -> a tenant: owners, namespaces, quota, network. Pure.

Source: capsule.clastix.io v1beta1 and v1beta2, the parts that both have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tenants.adopt import quotas
from tenants.adopt.draft import Doubts, Draft, Object, label, labels_of, name_of, of_kind, spec_of, spell
from tenants.model import Admin
from tenants.quantity import plus

GROUP: Final = "capsule.clastix.io"
LABEL: Final = "capsule.clastix.io/tenant"
_READ: Final = ("owners", "resourceQuotas", "networkPolicies", "forceTenantPrefix")
_ACCOUNT: Final = "system:serviceaccount:"


def drafts(objects: Iterable[Object], doubts: Doubts) -> dict[str, Draft]:
    """A draft for each Tenant; network policies of the Tenant are handed on by `policies`."""
    everything = list(objects)
    found: dict[str, Draft] = {}
    for manifest in of_kind(everything, "Tenant", GROUP):
        name = label(name_of(manifest), found, "tenant")
        spec = spec_of(manifest)
        prefixes = {f"{name_of(manifest)}-"} if spec.get("forceTenantPrefix") else set()
        namespaces = _namespaces(manifest, everything)
        found[name] = Draft(
            name=name,
            source=spell(manifest),
            namespaces=namespaces,
            prefixes=prefixes,
            quota=quotas.shares(_caps(manifest, spec, namespaces, doubts)),
            admins=[_admin(manifest, owner, doubts) for owner in spec.get("owners") or ()],
        )
        doubts.unread(manifest, spec, "spec.", _READ)
    return found


def policies(objects: Iterable[Object], draft: Draft) -> list[Object]:
    """The NetworkPolicies that Capsule puts into each namespace of the tenant."""
    manifest = next(one for one in of_kind(objects, "Tenant", GROUP) if spell(one) == draft.source)
    items = (spec_of(manifest).get("networkPolicies") or {}).get("items") or ()
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": f"{name_of(manifest)}-{index}", "namespace": namespace},
            "spec": spec,
        }
        for index, spec in enumerate(items)
        for namespace in sorted(draft.namespaces) or [""]
    ]


def _namespaces(manifest: Object, objects: list[Object]) -> set[str]:
    told = (manifest.get("status") or {}).get("namespaces") or ()
    labelled = [name_of(one) for one in of_kind(objects, "Namespace", "")
                if labels_of(one).get(LABEL) == name_of(manifest)]  # fmt: skip
    return {*map(str, told), *labelled}


def _caps(manifest: Object, spec: Mapping[str, Any], namespaces: set[str], doubts: Doubts) -> quotas.Caps:
    stated = spec.get("resourceQuotas") or {}
    total: quotas.Caps = {}
    per_namespace = stated.get("scope", "Tenant") == "Namespace"
    if per_namespace and stated.get("items"):
        doubts.add(manifest, f"its quota is per namespace: {len(namespaces)} of them are added up")
    for item in stated.get("items") or ():
        doubts.unread(manifest, item, "spec.resourceQuotas.items.", ("hard",))
        if item.get("scopes") or item.get("scopeSelector"):
            continue
        for resource, cap in quotas.caps(manifest, item.get("hard") or {}, doubts).items():
            whole = cap
            for _ in range(len(namespaces) - 1 if per_namespace else 0):
                whole = plus(whole, cap)
            total[resource] = min(whole, total.get(resource, whole))
    return total


def _admin(manifest: Object, owner: Mapping[str, Any], doubts: Doubts) -> Admin:
    doubts.unread(manifest, owner, f"spec.owners[{owner['name']}].", ("kind", "name"))
    name = str(owner["name"])
    if owner["kind"] == "ServiceAccount" and name.startswith(_ACCOUNT):
        namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
        return Admin(kind="ServiceAccount", name=account, namespace=namespace)
    return Admin(kind=str(owner["kind"]), name=name)
