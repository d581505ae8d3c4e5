"""Which flows open and which close between two models: both are asked with `policy`, differences told. Pure.

Every verdict is constant between neighbouring numbers that some rule names, so one port of each such range and
one address of each named block stand for all of them.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from tenants.model import Peer, Port, Tenant, TenantSet
from tenants.plan.effect import Effect, Impact, Kind
from tenants.policy import End, Flow, between, owner

LAST_PORT = 65535
PROTOCOLS = ("TCP", "UDP", "SCTP")
SHOWN = 50  # ends named one by one before they are counted
ANYWHERE = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
Block = ipaddress.IPv4Network | ipaddress.IPv6Network


class Place(msgspec.Struct, frozen=True, order=True):
    """An end as a reader names it: a tenant, a namespace of nobody, a block of addresses."""

    kind: str
    name: str

    def __str__(self) -> str:
        return self.name


class Ports(msgspec.Struct, frozen=True, order=True):
    """An inclusive range of one protocol, or a named port."""

    protocol: str
    first: int
    last: int
    name: str = ""

    def __str__(self) -> str:
        tail = "" if self.protocol == "TCP" else f"/{self.protocol}"
        if self.name:
            return self.name + tail
        if (self.first, self.last) == (1, LAST_PORT):
            return f"*/{self.protocol}"
        return (f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}") + tail


ELSEWHERE = Place("elsewhere", "any other namespace")


def flow_effects(old: TenantSet, new: TenantSet) -> Iterator[Effect]:
    """Flows that open (a wall gets lower) and flows that close (somebody loses a connection)."""
    moved: defaultdict[tuple[bool, str, Place], list[tuple[Place, str]]] = defaultdict(list)
    for source, destination in sorted(_pairs(old, new)):
        for opens, ports in _differences(old, new, source, destination).items():
            moved[opens, ports, source].append((destination, ports))
    yield from _told(moved)


def _told(moved: Mapping[tuple[bool, str, Place], list[tuple[Place, str]]]) -> Iterator[Effect]:
    for (opens, ports, source), found in sorted(moved.items(), key=lambda item: (not item[0][0], item[0][2])):
        names = [str(place) for place, _ in found]
        ends = names if len(names) <= SHOWN else [f"({len(names)} ends: {', '.join(names[:SHOWN])}, …)"]
        for end in ends:
            verb, impact = ("opens", Impact.WEAKENS) if opens else ("closes", Impact.DISRUPTS)
            yield Effect(impact, Kind.FLOW, str(source), f"flow {source} -> {end}:{ports} {verb}")


def _pairs(old: TenantSet, new: TenantSet) -> set[tuple[Place, Place]]:
    """The ordered pairs of ends whose verdict can differ: one of them is a tenant whose rules changed."""
    pairs: set[tuple[Place, Place]] = set()
    for name in {*old.tenants, *new.tenants}:
        versions = [model.tenants[name] for model in (old, new) if name in model.tenants]
        if name not in new.tenants or (len(versions) == 2 and versions[0].network == versions[1].network):
            continue  # a tenant that goes away is an effect of its own
        here = Place("tenant", name)
        for there in _others(name, versions, new):
            pairs |= {(here, there), (there, here)} if there != here else set()
    return pairs


def _others(name: str, versions: list[Tenant], new: TenantSet) -> set[Place]:
    """Those that the tenant lists; if it is not isolated in one of the models, everybody."""
    peers = [peer for tenant in versions for peer in (*tenant.network.allow_from, *tenant.network.allow_to)]
    found = {_place(peer) for peer in peers if not peer.cidr}
    found |= {Place("block", str(block)) for block in _blocks(peers)}
    if any(not tenant.network.isolate for tenant in versions):
        found |= {Place("tenant", other) for other in new.tenants if other != name}
        found |= {ELSEWHERE, *(Place("block", str(block)) for block in ANYWHERE)}
    dns_moved = len({tenant.network.dns for tenant in versions}) == 2
    return {place for place in found if place.kind != "tenant" or place.name in new.tenants} | (
        {Place("namespace", "kube-system")} if dns_moved else set()
    )


def _place(peer: Peer) -> Place:
    return Place("tenant", peer.tenant) if peer.tenant else Place("namespace", peer.namespace)


def _blocks(peers: Iterable[Peer]) -> set[Block]:
    return {
        ipaddress.ip_network(text, strict=False)
        for peer in peers
        for text in ((peer.cidr, *peer.exclude) if peer.cidr else ())
    }


def _differences(old: TenantSet, new: TenantSet, source: Place, destination: Place) -> dict[bool, str]:
    """{True: ports that open, False: ports that close} between two ends, neighbours joined."""
    peers = [peer for model in (old, new) for place in (source, destination) for peer in _rules(model, place)]
    blocks = _blocks(peers) | set(ANYWHERE)
    before, after = (_Pair.of(model, source, destination, blocks) for model in (old, new))
    changed: dict[bool, list[Ports]] = {True: [], False: []}
    for ports in _atoms(port for peer in peers for port in peer.ports):
        opens = after.open(ports)
        if before.open(ports) != opens:
            changed[opens].append(ports)
    return {opens: _spell(found) for opens, found in changed.items() if found}


class _Pair(msgspec.Struct, frozen=True):
    """Stand-ins for two ends in one model, and whose they are; an end that the model does not have is None."""

    source: End | None
    destination: End | None
    owners: tuple[Tenant | None, Tenant | None]

    @classmethod
    def of(cls, model: TenantSet, source: Place, destination: Place, blocks: set[Block]) -> _Pair:
        ends = [_end(model, place, blocks) for place in (source, destination)]
        owners = [
            model.tenants.get(place.name) if place.kind == "tenant" else owner(model, end) if end else None
            for place, end in zip((source, destination), ends, strict=True)
        ]
        return cls(ends[0], ends[1], (owners[0], owners[1]))

    def open(self, ports: Ports) -> bool:
        if self.source is None or self.destination is None:
            return False
        flow = Flow(
            source=self.source,
            destination=self.destination,
            port=None if ports.name else ports.first,
            port_name=ports.name,
            protocol=ports.protocol,
        )
        return between(*self.owners, flow).allowed


def _rules(model: TenantSet, place: Place) -> tuple[Peer, ...]:
    if place.kind != "tenant" or place.name not in model.tenants:
        return ()
    network = model.tenants[place.name].network
    return (*network.allow_from, *network.allow_to)


def _end(model: TenantSet, place: Place, blocks: set[Block]) -> End | None:
    """A stand-in for the place; None where the model has no such tenant or no address is left."""
    if place.kind == "block":
        address = representative(ipaddress.ip_network(place.name), blocks)
        return None if address is None else End(address=address)
    if place.kind == "tenant":
        namespace = namespace_of(model.tenants.get(place.name))
        return End(namespace=namespace) if namespace else None
    return End(namespace=place.name if place.kind == "namespace" else "")


def namespace_of(tenant: Tenant | None) -> str:
    """One namespace that is the tenant's, whether or not it exists yet; empty if it can have none."""
    if tenant is None:
        return ""
    return next(iter((*tenant.namespaces, *(f"{prefix}x" for prefix in tenant.namespace_prefixes))), "")


def representative(block: Block, blocks: set[Block]) -> str | None:
    """An address of `block` that is in none of the smaller ones."""
    smaller = [
        other for other in blocks if other.prefixlen > block.prefixlen and other.version == block.version
    ]
    inside = [other for other in smaller if int(block[0]) <= int(other[0]) <= int(block[-1])]
    candidates = [int(block[0]), *(int(other[-1]) + 1 for other in inside)]
    for number in candidates:
        free = all(not int(other[0]) <= number <= int(other[-1]) for other in inside)
        if free and number <= int(block[-1]):
            kind = ipaddress.IPv4Address if block.version == 4 else ipaddress.IPv6Address
            return str(kind(number))
    return None


def _atoms(stated: Iterable[Port]) -> Iterator[Ports]:
    """Ranges within which no rule distinguishes, for each protocol, and every named port."""
    starts = {protocol: {1, 53, 54} for protocol in PROTOCOLS}
    names: set[tuple[str, str]] = set()
    for port in stated:
        if isinstance(port.port, str):
            names.add((port.protocol, port.port))
        elif port.port is not None:
            starts[port.protocol] |= {port.port, (port.end_port or port.port) + 1}
    for protocol, cuts in starts.items():
        edges = sorted(cut for cut in cuts if cut <= LAST_PORT)
        for first, following in zip(edges, [*edges[1:], LAST_PORT + 1], strict=True):
            yield Ports(protocol, first, following - 1)
    for protocol, name in sorted(names):
        yield Ports(protocol, 0, 0, name)


def _spell(found: list[Ports]) -> str:
    joined: list[Ports] = []
    for ports in found:
        last = joined[-1] if joined else None
        if last and not ports.name and last.protocol == ports.protocol and last.last + 1 == ports.first:
            joined[-1] = Ports(ports.protocol, last.first, ports.last)
        else:
            joined.append(ports)
    words = [str(ports) for ports in joined]
    return "*" if words == [f"*/{protocol}" for protocol in PROTOCOLS] else ",".join(words)
