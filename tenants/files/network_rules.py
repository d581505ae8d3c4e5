"""Rules of the network part: what CIDRs exclude, the ends of port ranges, one peer per entry. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from tenants.files.decode import Declared
from tenants.files.kinds import PEER_WORDS, PeerFile, TenantFile
from tenants.files.positions import Document, Loc
from tenants.files.problem import Kind, Problem
from tenants.files.scalars import IpNetwork, address_block
from tenants.model import METADATA_ADDRESSES

METADATA: Final = tuple(map(ipaddress.ip_network, METADATA_ADDRESSES))


def problems(declared: list[Declared]) -> Iterator[Problem]:
    """Every broken rule of every tenant's network part."""
    for one in declared:
        file = one.file
        if isinstance(file, TenantFile):
            for key, peers in (("allowFrom", file.network.allow_from), ("allowTo", file.network.allow_to)):
                for index, peer in enumerate(peers):
                    yield from _peer(one, ("network", key, index), peer)


def _peer(one: Declared, loc: Loc, peer: PeerFile) -> Iterator[Problem]:
    document = one.document
    named = [word for word in PEER_WORDS if getattr(peer, word) is not None]
    if len(named) > 1 or (not named and not one.lacks(*loc)):
        why = f"an entry names one of tenant, namespace, cidr; this one names {' and '.join(named) or 'none'}"
        yield document.problem(loc, Kind.WRONG_VALUE, why, "make one entry for each" if named else "name one")
    if peer.cidr is not None:
        yield from _cidr(document, loc, peer.cidr, peer)
    elif peer.except_ and not one.lacks(*loc, "cidr"):
        why = "only a cidr can have exceptions"
        yield document.problem((*loc, "except"), Kind.EXCEPT_OUTSIDE, why, key=True)
    yield from _ports(one, loc, peer)


def _cidr(document: Document, loc: Loc, written: str, peer: PeerFile) -> Iterator[Problem]:
    whole = address_block(written)
    if any(_inside(whole, address) for address in METADATA):
        why = f"{written} is the cloud metadata address, which is closed for every tenant"
        yield document.problem((*loc, "cidr"), Kind.METADATA_ADDRESS, why, "remove the entry")
    for index, text in enumerate(peer.except_):
        part = address_block(text)
        if not _inside(part, whole):
            why = f"{text} is not inside {written}"
            yield document.problem((*loc, "except", index), Kind.EXCEPT_OUTSIDE, why)
        elif part == whole:
            why = f"{text} is all of {written}"
            yield document.problem((*loc, "except", index), Kind.EXCEPT_OUTSIDE, why, "remove the entry")


def _ports(one: Declared, loc: Loc, peer: PeerFile) -> Iterator[Problem]:
    for index, port in enumerate(peer.ports):
        here = (*loc, "ports", index, "endPort")
        if port.end_port is None or one.lacks(*loc, "ports", index, "port"):
            continue
        if not isinstance(port.port, int):
            written = "none is written" if port.port is None else f"this is the name {port.port!r}"
            why = f"endPort needs a numeric port, {written}"
            yield one.document.problem(here, Kind.PORT, why, "write the first port of the range")
        elif port.end_port < port.port:
            why = f"endPort {port.end_port} is below port {port.port}"
            yield one.document.problem(here, Kind.PORT, why, "swap the two")


def _inside(part: IpNetwork | None, whole: IpNetwork | None) -> bool:
    if isinstance(part, ipaddress.IPv4Network) and isinstance(whole, ipaddress.IPv4Network):
        return part.subnet_of(whole)
    if isinstance(part, ipaddress.IPv6Network) and isinstance(whole, ipaddress.IPv6Network):
        return part.subnet_of(whole)
    return False
