"""NetworkPolicies of a tenant's namespaces -> its network part. Pure.

A tenant file speaks of all pods of all namespaces of a tenant, so a policy that selects some pods, or a peer that
is some pods, can't be said. Such a peer is left out and doubted: what is left out stays closed, never open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from tenants.adopt.draft import Doubts, Object, is_system, name_of
from tenants.manifests.objects import NAMESPACE_NAME, TENANT_LABEL
from tenants.model import METADATA_ADDRESSES, Network, Peer, Port
from tenants.policy import DNS_NAMESPACE, DNS_PORT

EVERYWHERE: Final = ("0.0.0.0/0", "::/0")


class World(msgspec.Struct, frozen=True):
    """What selectors are resolved against: labels by namespace, and who owns which namespace."""

    labels: Mapping[str, Mapping[str, str]]
    owners: Mapping[str, str]

    def namespaces_of(self, tenant: str) -> set[str]:
        """All namespaces of one tenant."""
        return {namespace for namespace, owner in self.owners.items() if owner == tenant}


class _Direction:
    """What the policies say about one direction of a tenant."""

    def __init__(self) -> None:
        self.isolated: set[str] = set()  # namespaces
        self.open = False
        self.dns = False
        self.own = False
        self.peers: list[Peer] = []


class _Reader:
    """Reads the policies of one tenant."""

    def __init__(self, tenant: str, world: World, doubts: Doubts) -> None:
        self.tenant, self.world, self.doubts = tenant, world, doubts
        self.ingress, self.egress = _Direction(), _Direction()

    def read(self, policy: Object) -> None:
        spec = policy.get("spec") or {}
        selector = spec.get("podSelector") or {}
        if any(selector.values()):
            self.doubts.add(policy, "selects some pods of its namespace; tenant files speak of all of them")
            return
        types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
        for kind, key, end, direction in (
            ("Ingress", "ingress", "from", self.ingress),
            ("Egress", "egress", "to", self.egress),
        ):
            if kind in types:
                direction.isolated.add(policy["metadata"].get("namespace", "default"))
                for rule in spec.get(key) or ():
                    self._rule(policy, rule, end, direction)

    def _rule(self, policy: Object, rule: Mapping[str, Any], end: str, direction: _Direction) -> None:
        ports = tuple(_port(written) for written in rule.get("ports") or ())
        peers = rule.get(end) or ()
        if end == "to" and _is_dns(ports) and self._only_dns(peers):
            direction.dns = True
            return
        if not ports and _is_anywhere(peers):
            direction.open = True
            return
        if not peers:
            if ports:
                self.doubts.add(policy, f"opens ports to everybody; written as {', '.join(EVERYWHERE)}")
                direction.peers += [Peer(cidr=block, ports=ports) for block in EVERYWHERE]
            else:
                direction.open = True
        for peer in peers:
            for found in self._peer(policy, peer, direction):
                direction.peers.append(msgspec.structs.replace(found, ports=ports))

    def _only_dns(self, peers: Iterable[Mapping[str, Any]]) -> bool:
        """Peers are the cluster's DNS, or nobody in particular."""
        return all(self._selected(peer.get("namespaceSelector") or {}) == {DNS_NAMESPACE} for peer in peers)

    def _peer(self, policy: Object, peer: Mapping[str, Any], direction: _Direction) -> list[Peer]:
        if "ipBlock" in peer:
            return self._block(policy, peer["ipBlock"])
        pods = peer.get("podSelector") or {}
        if any(pods.values()):
            self.doubts.add(
                policy, f"a peer is some pods only ({_selector(pods)}): left out, it stays closed"
            )
            return []
        if "namespaceSelector" not in peer:
            direction.own = True
            return []
        return self._namespaces(policy, peer["namespaceSelector"] or {}, direction)

    def _block(self, policy: Object, block: Mapping[str, Any]) -> list[Peer]:
        cidr = str(block["cidr"])
        if cidr in METADATA_ADDRESSES:
            self.doubts.add(policy, f"{cidr} is the cloud's metadata address, which stays closed")
            return []
        kept = tuple(part for part in block.get("except") or () if part not in METADATA_ADDRESSES)
        return [Peer(cidr=cidr, exclude=kept)]

    def _namespaces(self, policy: Object, selector: Mapping[str, Any], direction: _Direction) -> list[Peer]:
        named = dict(selector.get("matchLabels") or {})
        if set(named) == {TENANT_LABEL} and not selector.get("matchExpressions"):
            direction.own = direction.own or named[TENANT_LABEL] == self.tenant
            return [] if named[TENANT_LABEL] == self.tenant else [Peer(tenant=named[TENANT_LABEL])]
        if set(named) == {NAMESPACE_NAME} and named[NAMESPACE_NAME] not in self.world.owners:
            return [Peer(namespace=named[NAMESPACE_NAME])]
        chosen = self._selected(selector)
        if set(named) != {NAMESPACE_NAME}:
            self.doubts.add(policy, f"selects namespaces by {_selector(selector)}: followed as of now, "
                                    f"{', '.join(sorted(chosen)) or 'none'}")  # fmt: skip
        return self._owned(policy, chosen, direction)

    def _owned(self, policy: Object, chosen: set[str], direction: _Direction) -> list[Peer]:
        """Whole tenants by name, namespaces of nobody by theirs; part of a tenant is nothing."""
        peers = [Peer(namespace=name) for name in sorted(chosen) if name not in self.world.owners]
        for owner in sorted({self.world.owners[name] for name in chosen if name in self.world.owners}):
            missing = self.world.namespaces_of(owner) - chosen
            if owner == self.tenant:
                direction.own = True
            elif missing:
                self.doubts.add(policy, f"a peer is part of tenant {owner} (without {', '.join(sorted(missing))}): "
                                        "left out, it stays closed")  # fmt: skip
            else:
                peers.append(Peer(tenant=owner))
        return peers

    def _selected(self, selector: Mapping[str, Any]) -> set[str]:
        return {name for name, found in self.world.labels.items() if _matches(selector, found)} | {
            name for name in [str((selector.get("matchLabels") or {}).get(NAMESPACE_NAME, ""))]
            if name and len(selector["matchLabels"]) == 1 and not selector.get("matchExpressions")
        }  # fmt: skip


def network(
    tenant: str, namespaces: Iterable[str], policies: Iterable[Object], world: World, doubts: Doubts
) -> Network:
    """The network part that the policies amount to; what they close is never opened."""
    reader = _Reader(tenant, world, doubts)
    for policy in policies:
        reader.read(policy)
    everywhere = set(namespaces)
    sides = (reader.ingress, reader.egress)
    shut = [bool(side.isolated) and not side.open for side in sides]
    if not any(shut):
        return Network(isolate=False)
    about = f"tenant {tenant}"
    for side, word in zip(sides, ("into", "out of"), strict=True):
        for namespace in sorted(everywhere - side.isolated) if side.isolated else ():
            doubts.add(about, f"traffic {word} namespace {namespace} was not isolated and is now")
    for is_shut, side, word in zip(shut, sides, ("allowFrom", "allowTo"), strict=True):
        if not is_shut:
            doubts.add(
                about, f"one direction was open: {word} says {', '.join(EVERYWHERE)}; name tenants beside it"
            )
            side.peers = [Peer(cidr=block) for block in EVERYWHERE]
    if not (reader.ingress.own and reader.egress.own):
        doubts.add(about, "its own pods may talk to each other here, and not all could before")
    return Network(
        dns=reader.egress.dns or not shut[1],
        allow_from=tuple(dict.fromkeys(reader.ingress.peers)),
        allow_to=tuple(dict.fromkeys(reader.egress.peers)),
    )


def world_of(namespaces: Iterable[Object], owners: Mapping[str, str]) -> World:
    """Labels of the namespaces, with the one that the API server adds."""
    labels = {name_of(one): {NAMESPACE_NAME: name_of(one), **(one["metadata"].get("labels") or {})}
              for one in namespaces}  # fmt: skip
    return World(labels, {name: owner for name, owner in owners.items() if not is_system(name)})


def _port(written: Mapping[str, Any]) -> Port:
    return Port(
        protocol=written.get("protocol", "TCP"), port=written.get("port"), end_port=written.get("endPort")
    )


def _is_anywhere(peers: Iterable[Mapping[str, Any]]) -> bool:
    """Every namespace and every address, but for those that stay closed anyway: how we write `isolate: false`."""
    named = list(peers)
    blocks = [peer["ipBlock"] for peer in named if "ipBlock" in peer]
    whole = {block["cidr"] for block in blocks if set(block.get("except") or ()) <= set(METADATA_ADDRESSES)}
    return whole >= set(EVERYWHERE) and {"namespaceSelector": {}} in named


def _is_dns(ports: tuple[Port, ...]) -> bool:
    return bool(ports) and all(
        port.port == DNS_PORT and port.end_port is None and port.protocol in {"UDP", "TCP"} for port in ports
    )


def _matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A label selector; NotIn and DoesNotExist hold where the key is absent."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or ():
        present, values = labels.get(term["key"]), term.get("values") or ()
        holds = {
            "In": present in values,
            "NotIn": present not in values,
            "Exists": present is not None,
            "DoesNotExist": present is None,
        }
        if not holds.get(term["operator"], False):
            return False
    return True


def _selector(selector: Mapping[str, Any]) -> str:
    words = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    words += [f"{term['key']} {term['operator']} {','.join(term.get('values') or ())}".strip()
              for term in selector.get("matchExpressions") or ()]  # fmt: skip
    return " and ".join(words) or "everything"
