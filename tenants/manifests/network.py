"""Model -> NetworkPolicy objects of a namespace. Pure; called by `render`.

Policies only add, so a namespace gets one that isolates (own tenant, DNS) and one that lists what its file
allows; each side of a flow states its own half. The addresses of the cloud's metadata service are closed
whatever a file says: no NetworkPolicy can deny, so every block of addresses that covers one is written with
an `except`. Undefined by Kubernetes and therefore not promised: ICMP, host-network pods, Service addresses in
a CIDR, and connections that were open before.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Final

from tenants.manifests.objects import NAMESPACE_NAME, TENANT_LABEL, Manifest, make
from tenants.model import METADATA_ADDRESSES, Network, Peer, Port, Tenant

_EVERYWHERE: Final = ("0.0.0.0/0", "::/0")


def network_policies(tenant: Tenant, namespace: str) -> Iterator[Manifest]:
    """Isolation and allowed peers, or for a tenant that is open everything but the metadata addresses."""
    network = tenant.network
    if not network.isolate:
        yield _policy(tenant, namespace, "bulkhead-open", [{}], [{"to": _anywhere()}])
        return
    own = [_tenant_peer(tenant.name)]
    egress: list[Manifest] = [{"to": own}]
    if network.dns:
        egress.append(_dns())
    yield _policy(tenant, namespace, "bulkhead-isolate", [{"from": own}], egress)
    yield from _allowed(tenant, namespace, network)


def _allowed(tenant: Tenant, namespace: str, network: Network) -> Iterator[Manifest]:
    """A policy with no rules would isolate, which `bulkhead-isolate` does already: only where there are."""
    ingress = [_rule("from", peer) for peer in network.allow_from if not _is_metadata(peer)]
    egress = [_rule("to", peer) for peer in network.allow_to if not _is_metadata(peer)]
    if ingress or egress:
        yield _policy(tenant, namespace, "bulkhead-allow", ingress, egress)


def _policy(
    tenant: Tenant, namespace: str, name: str, ingress: list[Manifest], egress: list[Manifest]
) -> Manifest:
    """Both directions and every pod, said outright: the defaults of policyTypes depend on the rules."""
    spec: Manifest = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    spec |= {key: rules for key, rules in (("ingress", ingress), ("egress", egress)) if rules}
    return make("networking.k8s.io/v1", "NetworkPolicy", name, namespace=namespace, tenant=tenant, spec=spec)


def _rule(direction: str, peer: Peer) -> Manifest:
    rule: Manifest = {direction: [_peer(peer)]}
    if peer.ports:
        rule["ports"] = [_port(port) for port in peer.ports]
    return rule


def _peer(peer: Peer) -> Manifest:
    if peer.tenant:
        return _tenant_peer(peer.tenant)
    if peer.namespace:
        return _namespace_peer(peer.namespace)
    return _block(peer.cidr, peer.exclude)


def _tenant_peer(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {TENANT_LABEL: name}}}


def _namespace_peer(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: name}}}


def _block(cidr: str, exclude: Iterable[str]) -> Manifest:
    closed = {*exclude, *(address for address in METADATA_ADDRESSES if _covers(cidr, address))}
    return {"ipBlock": {"cidr": cidr, "except": sorted(closed)} if closed else {"cidr": cidr}}


def _is_metadata(peer: Peer) -> bool:
    """The loader refuses such an entry; an `except` cannot close a whole block, so here it opens nothing."""
    return peer.cidr != "" and any(
        ipaddress.ip_network(peer.cidr, strict=False) == ipaddress.ip_network(address)
        for address in METADATA_ADDRESSES
    )


def _covers(cidr: str, address: str) -> bool:
    """Host bits are legal in a NetworkPolicy: 10.10.1.12/24."""
    whole, part = ipaddress.ip_network(cidr, strict=False), ipaddress.ip_network(address)
    return whole.version == part.version and part.network_address in whole


def _anywhere() -> list[Manifest]:
    """Some enforcers match pods by selector alone and never by address, so both are named."""
    return [{"namespaceSelector": {}}, *(_block(block, ()) for block in _EVERYWHERE)]


def _dns() -> Manifest:
    peer = {**_namespace_peer("kube-system"), "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}
    return {"to": [peer], "ports": [{"protocol": p, "port": 53} for p in ("UDP", "TCP")]}


def _port(port: Port) -> Manifest:
    written: Manifest = {"protocol": port.protocol}
    if port.port is not None:
        written["port"] = port.port
    if port.end_port is not None:
        written["endPort"] = port.end_port
    return written
