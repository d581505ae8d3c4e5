"""Who may open a connection to whom, by the tenant files: `evaluate(flow)` -> verdict and deciding rules. Pure.

`plan` compares two models with it, `explain flow` prints it, and the tests hold the rendered NetworkPolicies
to it. Semantics are those of networking.k8s.io/v1 (types.go): a flow passes iff the egress rules of its source
and the ingress rules of its destination both allow it, and a side without isolation allows everything. Not
covered, as there: loopback, host-network pods, and the node's own traffic to its pods, which always passes.
"""

from __future__ import annotations

import enum
import functools
import ipaddress
from collections.abc import Iterable
from typing import Final

import msgspec

from tenants.model import METADATA_ADDRESSES, Peer, Port, Tenant, TenantSet

DNS_NAMESPACE: Final = "kube-system"
DNS_PORT: Final = 53
METADATA: Final = tuple(map(ipaddress.ip_network, METADATA_ADDRESSES))


class Side(enum.StrEnum):
    """Which end's rules decide."""

    EGRESS = "egress"
    INGRESS = "ingress"


class Rule(enum.StrEnum):
    """What decided at one end."""

    NO_TENANT = "NoTenant"  # the end is nobody's: not isolated
    NOT_ISOLATED = "NotIsolated"
    SAME_TENANT = "SameTenant"
    DNS = "DNS"
    LISTED = "Listed"
    NOT_LISTED = "NotListed"
    METADATA_CLOSED = "MetadataClosed"


class End(msgspec.Struct, frozen=True):
    """One end of a flow: pods of a namespace, or an address; a pod whose address is known has both."""

    namespace: str = ""
    address: str = ""

    def __str__(self) -> str:
        return self.namespace or self.address


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """A connection to `port` of `destination`; `port_name` is what the destination's pod calls that port."""

    source: End
    destination: End
    port: int | None = None
    port_name: str = ""
    protocol: str = "TCP"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What one side says; `index` is the entry of allowTo or allowFrom, where an entry decided."""

    side: Side
    rule: Rule
    tenant: str = ""
    index: int | None = None

    @property
    def allowed(self) -> bool:
        """Whether this side lets the flow pass."""
        return self.rule not in {Rule.NOT_LISTED, Rule.METADATA_CLOSED}


class Verdict(msgspec.Struct, frozen=True):
    """Both sides; the flow passes iff both allow it."""

    egress: Decision
    ingress: Decision

    @property
    def allowed(self) -> bool:
        """Whether the connection opens."""
        return self.egress.allowed and self.ingress.allowed

    @property
    def deciding(self) -> tuple[Decision, ...]:
        """Those that closed it; if it is open, both."""
        closed = tuple(side for side in (self.egress, self.ingress) if not side.allowed)
        return closed or (self.egress, self.ingress)


def evaluate(tenants: TenantSet, flow: Flow) -> Verdict:
    """Verdict on one flow."""
    return between(owner(tenants, flow.source), owner(tenants, flow.destination), flow)


def between(source: Tenant | None, destination: Tenant | None, flow: Flow) -> Verdict:
    """The same for those who know the tenants of both ends (None = nobody's)."""
    return Verdict(
        _decide(Side.EGRESS, source, destination, flow), _decide(Side.INGRESS, destination, source, flow)
    )


def owner(tenants: TenantSet, end: End) -> Tenant | None:
    """The tenant that an end belongs to."""
    return tenants.tenant_of(end.namespace) if end.namespace else None


def _decide(side: Side, own: Tenant | None, other: Tenant | None, flow: Flow) -> Decision:
    """What the rules of `own`, the tenant at this side, say about a flow with `other`."""
    if own is None:
        return Decision(side=side, rule=Rule.NO_TENANT)
    rule, index = _rule(side, own, other, flow)
    return Decision(side=side, rule=rule, tenant=own.name, index=index)


def _rule(side: Side, own: Tenant, other: Tenant | None, flow: Flow) -> tuple[Rule, int | None]:
    far = flow.destination if side is Side.EGRESS else flow.source
    if side is Side.EGRESS and _within(far.address, METADATA):
        return Rule.METADATA_CLOSED, None
    if not own.network.isolate:
        return Rule.NOT_ISOLATED, None
    if other is not None and other.name == own.name:
        return Rule.SAME_TENANT, None
    if side is Side.EGRESS and own.network.dns and _is_dns(flow):
        return Rule.DNS, None
    listed = own.network.allow_to if side is Side.EGRESS else own.network.allow_from
    for index, peer in enumerate(listed):
        if _is_peer(peer, far, other) and _port_matches(peer.ports, flow):
            return Rule.LISTED, index
    return Rule.NOT_LISTED, None


def _is_dns(flow: Flow) -> bool:
    return (
        flow.destination.namespace == DNS_NAMESPACE
        and flow.port == DNS_PORT
        and flow.protocol in {"UDP", "TCP"}
    )


def _is_peer(peer: Peer, far: End, owner: Tenant | None) -> bool:
    if peer.tenant:
        return owner is not None and owner.name == peer.tenant
    if peer.namespace:
        return far.namespace == peer.namespace
    closed = (*_networks(peer.exclude), *METADATA)
    return _within(far.address, _networks([peer.cidr])) and not _within(far.address, closed)


def _port_matches(ports: tuple[Port, ...], flow: Flow) -> bool:
    return not ports or any(port_covers(port, flow) for port in ports)


def port_covers(stated: Port, flow: Flow) -> bool:
    """Whether one entry of `ports` covers the flow; a name counts only where the destination gives it."""
    if stated.protocol != flow.protocol:
        return False
    if stated.port is None:
        return True
    if isinstance(stated.port, str):
        return stated.port == flow.port_name
    return flow.port is not None and stated.port <= flow.port <= (stated.end_port or stated.port)


IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@functools.lru_cache(maxsize=65536)  # the same few blocks are asked for every flow
def _network(block: str) -> IpNetwork:
    return ipaddress.ip_network(block, strict=False)


@functools.lru_cache(maxsize=65536)
def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(text)


def _networks(blocks: Iterable[str]) -> tuple[IpNetwork, ...]:
    return tuple(map(_network, blocks))


def _within(address: str, blocks: Iterable[IpNetwork]) -> bool:
    if not address:
        return False
    where = _address(address)
    return any(where.version == block.version and where in block for block in blocks)
