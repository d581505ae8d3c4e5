"""Objects of a cluster -> the tenant files that say the same, and what they can't say. Pure. READ THIS FIRST.

Who owns a namespace: our own label, else Capsule's, else a Kueue LocalQueue in it, else it becomes a tenant of its
own. Quota comes from the owner's object, else from the namespaces' ResourceQuotas; the network always comes from
NetworkPolicies. Trust is in no object but ours: it is what the caller says, and untrusted if he says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from tenants.adopt import capsule, ours, quotas
from tenants.adopt.draft import (
    Doubt,
    Doubts,
    Draft,
    Object,
    is_system,
    label,
    labels_of,
    name_of,
    of_kind,
)
from tenants.adopt.kueue import Kueue
from tenants.adopt.network import network, world_of
from tenants.model import Group, TenantSet, Trust

READ: Final = {
    "": ("Namespace", "ResourceQuota", "ConfigMap"),
    "bulkhead.dev": ("TenantTable",),
    "networking.k8s.io": ("NetworkPolicy",),
    "node.k8s.io": ("RuntimeClass",),
    "rbac.authorization.k8s.io": ("RoleBinding",),
    "kueue.x-k8s.io": ("ClusterQueue", "Cohort", "ResourceFlavor", "LocalQueue"),
    "capsule.clastix.io": ("Tenant",),
}


class Adopted(msgspec.Struct, frozen=True):
    """The model, and everything of the objects that it does not say."""

    tenants: TenantSet
    doubts: tuple[Doubt, ...]


def adopt(objects: Sequence[Object], trust: Trust = Trust.UNTRUSTED) -> Adopted:
    """A model of what runs there; `trust` is that of every tenant that our own labels do not name."""
    doubts = Doubts()
    kueue = Kueue(objects, doubts)
    drafts = ours.drafts(objects, doubts)
    for name, draft in [*capsule.drafts(objects, doubts).items(), *kueue.drafts.items()]:
        if name in drafts:
            _join(drafts[name], draft, doubts)
        else:
            drafts[name] = draft
    _settle(drafts, doubts)
    _strays(objects, drafts, kueue.groups, doubts)
    _fill(objects, drafts, doubts)
    classes = {
        name_of(one): ours.runtime_class(one, doubts)
        for one in of_kind(objects, "RuntimeClass", "node.k8s.io")
    }
    stated = [draft.source for draft in drafts.values() if draft.trust is None]
    for source in stated:
        doubts.add(source, f"nothing says whether its code is trusted: {trust}")
    tenants = {name: draft.tenant(trust) for name, draft in sorted(drafts.items())}
    model = TenantSet(tenants=tenants, groups=kueue.groups, pools=kueue.pools, runtime_classes=classes)
    model = _without_strangers(model, doubts)
    return Adopted(model, doubts.all())


def _join(one: Draft, other: Draft, doubts: Doubts) -> None:
    """One name in two systems is one tenant: namespaces add up, the second one's quota counts if it has any."""
    doubts.add(other.source, f"is taken to be the same tenant as {one.source}")
    one.namespaces |= other.namespaces
    one.prefixes |= other.prefixes
    one.quota = {**one.quota, **other.quota}
    one.parent = other.parent or one.parent
    one.admins += [admin for admin in other.admins if admin not in one.admins]


def _settle(drafts: dict[str, Draft], doubts: Doubts) -> None:
    """A namespace that two claim is the first one's; what belongs to the cluster is nobody's."""
    owner: dict[str, str] = {}
    for name, draft in drafts.items():
        for namespace in sorted(draft.namespaces):
            if is_system(namespace):
                doubts.add(draft.source, f"namespace {namespace} belongs to the cluster, not to a tenant")
                draft.namespaces.discard(namespace)
            elif owner.setdefault(namespace, name) != name:
                doubts.add(draft.source, f"namespace {namespace} stays tenant {owner[namespace]}'s")
                draft.namespaces.discard(namespace)


def _owner(drafts: dict[str, Draft], namespace: str) -> str:
    named = [name for name, draft in drafts.items() if namespace in draft.namespaces]
    covered = [name for name, draft in drafts.items() if namespace.startswith(tuple(draft.prefixes))]
    return next(iter([*named, *covered]), "")


def _strays(
    objects: Sequence[Object], drafts: dict[str, Draft], groups: dict[str, Group], doubts: Doubts
) -> None:
    """Every other namespace is a tenant of its own, called as it is if the name is free."""
    for manifest in of_kind(objects, "Namespace", ""):
        namespace = name_of(manifest)
        if is_system(namespace) or _owner(drafts, namespace):
            continue
        name = label(namespace, [*drafts, *groups], "namespace")
        if name != namespace:
            doubts.add(manifest, f"becomes tenant {name}: another has its name")
        drafts[name] = Draft(name=name, source=f"Namespace {namespace}", namespaces={namespace})


def _fill(objects: Sequence[Object], drafts: dict[str, Draft], doubts: Doubts) -> None:
    """Network and, where the owner's object had none, quota."""
    namespaces = of_kind(objects, "Namespace", "")
    seen = {name_of(one) for one in namespaces} | {
        name for draft in drafts.values() for name in draft.namespaces
    }
    owners = {namespace: owner for namespace in seen if (owner := _owner(drafts, namespace))}
    world = world_of(namespaces, owners)
    for name, draft in drafts.items():
        here = {namespace for namespace, owner in owners.items() if owner == name}
        if not draft.quota:
            found = [one for one in of_kind(objects, "ResourceQuota", "") if _home(one) in here]
            draft.quota = quotas.shares(quotas.of_namespaces(found, here, doubts))
        policies = [
            one for one in of_kind(objects, "NetworkPolicy", "networking.k8s.io") if _home(one) in here
        ]
        if draft.source.startswith("Tenant "):
            policies = [*capsule.policies(objects, draft),
                        *(one for one in policies if capsule.LABEL not in labels_of(one))]  # fmt: skip
        if not here and not policies:
            doubts.add(
                draft.source, "has no namespace yet, so its network is the default: isolated, DNS open"
            )
        draft.network = network(name, here, policies, world, doubts) if here else None


def _home(manifest: Object) -> str:
    return str(manifest["metadata"].get("namespace", "default"))


def _without_strangers(model: TenantSet, doubts: Doubts) -> TenantSet:
    """A peer that names a tenant which is not there would not pass `check`."""
    tenants = {}
    for name, tenant in model.tenants.items():
        lists = []
        for peers in (tenant.network.allow_from, tenant.network.allow_to):
            known = tuple(peer for peer in peers if not peer.tenant or peer.tenant in model.tenants)
            for peer in set(peers) - set(known):
                doubts.add(
                    f"tenant {name}", f"its network names tenant {peer.tenant}, which is not there: left out"
                )
            lists.append(known)
        kept = msgspec.structs.replace(tenant.network, allow_from=lists[0], allow_to=lists[1])
        tenants[name] = msgspec.structs.replace(tenant, network=kept)
    return msgspec.structs.replace(model, tenants=tenants)
