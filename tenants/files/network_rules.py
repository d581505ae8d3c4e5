"""Rules of the network part: CIDRs and what they exclude, ports and ranges, one peer per entry. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from tenants.files.decode import Declared
from tenants.files.kinds import PeerFile, TenantFile
from tenants.files.positions import Document, Loc
from tenants.files.problem import Kind, Problem

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
METADATA: Final = tuple(
    ipaddress.ip_network(address) for address in ("169.254.169.254/32", "fd00:ec2::254/128")
)


def problems(declared: list[Declared]) -> Iterator[Problem]:
    """Every broken rule of every tenant's network part."""
    for document, file in declared:
        if isinstance(file, TenantFile):
            for key, peers in (("allowFrom", file.network.allow_from), ("allowTo", file.network.allow_to)):
                for index, peer in enumerate(peers):
                    yield from _peer(document, ("network", key, index), peer)


def _peer(document: Document, loc: Loc, peer: PeerFile) -> Iterator[Problem]:
    named = [
        word
        for word, value in (("tenant", peer.tenant), ("namespace", peer.namespace), ("cidr", peer.cidr))
        if value
    ]
    if len(named) != 1:
        why = f"an entry names one of tenant, namespace, cidr; this one names {' and '.join(named) or 'none'}"
        yield document.problem(loc, Kind.WRONG_VALUE, why, "make one entry for each")
    if peer.cidr:
        yield from _cidr(document, loc, peer)
    elif peer.except_:
        yield document.problem(
            (*loc, "except"), Kind.EXCEPT_OUTSIDE, "only a cidr can have exceptions", key=True
        )
    yield from _ports(document, loc, peer)


def _cidr(document: Document, loc: Loc, peer: PeerFile) -> Iterator[Problem]:
    whole = _network(peer.cidr or "")
    if whole is None:
        yield document.problem(
            (*loc, "cidr"), Kind.CIDR, f"{peer.cidr!r} is not an address block such as 10.0.0.0/8"
        )
        return
    if any(_inside(whole, address) for address in METADATA):
        why = f"{peer.cidr} is the cloud metadata address, which is closed for every tenant"
        yield document.problem((*loc, "cidr"), Kind.METADATA_ADDRESS, why, "remove the entry")
    for index, text in enumerate(peer.except_):
        part, here = _network(text), (*loc, "except", index)
        if part is None:
            yield document.problem(here, Kind.CIDR, f"{text!r} is not an address block such as 10.0.0.0/8")
        elif not _inside(part, whole):
            yield document.problem(here, Kind.EXCEPT_OUTSIDE, f"{text} is not inside {peer.cidr}")


def _ports(document: Document, loc: Loc, peer: PeerFile) -> Iterator[Problem]:
    for index, port in enumerate(peer.ports):
        here = (*loc, "ports", index, "endPort")
        if port.end_port is None:
            continue
        if not isinstance(port.port, int):
            yield document.problem(here, Kind.PORT, f"endPort needs a numeric port, not {port.port!r}")
        elif port.end_port < port.port:
            yield document.problem(here, Kind.PORT, f"endPort {port.end_port} is below port {port.port}")


def _network(text: str) -> IpNetwork | None:
    """NetworkPolicy takes host bits (10.10.1.12/24) but no address without a length."""
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def _inside(part: IpNetwork, whole: IpNetwork) -> bool:
    if isinstance(part, ipaddress.IPv4Network) and isinstance(whole, ipaddress.IPv4Network):
        return part.subnet_of(whole)
    if isinstance(part, ipaddress.IPv6Network) and isinstance(whole, ipaddress.IPv6Network):
        return part.subnet_of(whole)
    return False
