"""Why a flow is open or closed, with the entry that decided and where it stands. Pure; `explain flow` prints it."""

from __future__ import annotations

import ipaddress

import msgspec

from tenants.model import Peer, TenantSet
from tenants.plan.flow_effects import namespace_of
from tenants.plan.places import Places
from tenants.policy import Decision, End, Flow, Rule, Side, Verdict, evaluate

_WORDS = {
    Rule.NO_TENANT: "belongs to no tenant, so nothing here closes it",
    Rule.NOT_ISOLATED: "is not isolated (network.isolate: false)",
    Rule.SAME_TENANT: "pods of one tenant may talk to each other",
    Rule.DNS: "DNS stays open (network.dns)",
    Rule.METADATA_CLOSED: "the cloud's metadata address is closed for every tenant",
}


class Reasoning(msgspec.Struct, frozen=True, kw_only=True):
    """One side: what it says, why, and where that is written."""

    side: Side
    allowed: bool
    tenant: str
    rule: Rule
    entry: str
    place: str
    why: str


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one flow; `deciding` is the first side that closed it, or empty."""

    source: str
    destination: str
    port: str
    open: bool
    deciding: str
    sides: tuple[Reasoning, ...]


def end_of(tenants: TenantSet, written: str) -> End | str:
    """An address, `tenant/NAME`, `namespace/NAME`, or a bare name (a tenant if there is one); else what is wrong."""
    kind, _, name = written.rpartition("/")
    if kind in {"", "tenant"} and name in tenants.tenants:
        namespace = namespace_of(tenants.tenants[name])
        return End(namespace=namespace) if namespace else f"tenant {name} has no namespace"
    if kind == "tenant":
        return f"no tenant {name!r}; there are: {', '.join(sorted(tenants.tenants)) or 'none'}"
    if kind in {"", "namespace"} and name and not _address(name):
        return End(namespace=name)
    return End(address=written) if _address(written) else f"{written!r} is no tenant, namespace or IP address"


def flow_of(source: End, destination: End, port: str) -> Flow | str:
    """443, 53/UDP, or the name of a container port; else what is wrong with it."""
    word, _, protocol = port.partition("/")
    protocol = protocol.upper() or "TCP"
    if protocol not in {"TCP", "UDP", "SCTP"}:
        return f"{protocol!r} is none of TCP, UDP, SCTP"
    if not word.isdecimal():
        return Flow(source=source, destination=destination, port_name=word, protocol=protocol)
    if not 1 <= int(word) <= 65535:
        return f"port {word} is outside 1-65535"
    return Flow(source=source, destination=destination, port=int(word), protocol=protocol)


def explain(tenants: TenantSet, flow: Flow, names: tuple[str, str], port: str, places: Places) -> Explained:
    """`names` are the ends as they were asked for."""
    verdict = evaluate(tenants, flow)
    sides = tuple(_reasoning(tenants, one, flow, names, places) for one in (verdict.egress, verdict.ingress))
    return Explained(
        source=names[0],
        destination=names[1],
        port=port,
        open=verdict.allowed,
        deciding="" if verdict.allowed else verdict.deciding[0].side.value,
        sides=sides,
    )


def text(found: Explained) -> str:
    """For people."""
    lines = [f"{'open' if found.open else 'closed'}: {found.source} -> {found.destination}:{found.port}"]
    for side in found.sides:
        who = f"{side.side} of {side.tenant or (found.source if side.side is Side.EGRESS else found.destination)}"
        place = f" ({side.place})" if side.place else ""
        lines.append(f"  {who}: {'allowed' if side.allowed else 'denied'}, {side.why}{place}")
    return "\n".join(lines) + "\n"


def _reasoning(
    tenants: TenantSet, decision: Decision, flow: Flow, names: tuple[str, str], places: Places
) -> Reasoning:
    key = "allowTo" if decision.side is Side.EGRESS else "allowFrom"
    near = _near(tenants, decision, flow)
    entry = "" if decision.index is None else f"network.{key}[{decision.index}]"
    loc: tuple[str | int, ...] = ("network",)
    if decision.index is not None:
        loc = ("network", key, decision.index)
    elif decision.rule is Rule.NOT_LISTED:
        loc = ("network", key) if near is None else ("network", key, near)
    elif decision.rule is Rule.NOT_ISOLATED:
        loc = ("network", "isolate")
    return Reasoning(
        side=decision.side,
        allowed=decision.allowed,
        tenant=decision.tenant,
        rule=decision.rule,
        entry=entry,
        place=places.of(decision.tenant, *loc) if decision.tenant else "",
        why=_why(decision, names, entry, near),
    )


def _why(decision: Decision, names: tuple[str, str], entry: str, near: int | None) -> str:
    if decision.rule is Rule.LISTED:
        return f"{entry} lists it"
    if decision.rule is not Rule.NOT_LISTED:
        return _WORDS[decision.rule]
    key, far = ("allowTo", names[1]) if decision.side is Side.EGRESS else ("allowFrom", names[0])
    if near is not None:
        return f"network.{key}[{near}] names {far}, but not this port"
    return f"no entry of network.{key} names {far}; add one to open it"


def _near(tenants: TenantSet, decision: Decision, flow: Flow) -> int | None:
    """The first entry that names the other end and misses it by its ports alone."""
    if decision.rule is not Rule.NOT_LISTED:
        return None
    network = tenants.tenants[decision.tenant].network
    peers = network.allow_to if decision.side is Side.EGRESS else network.allow_from
    return next(
        (i for i, peer in enumerate(peers) if _only_ports_differ(tenants, decision, peer, flow)), None
    )


def _only_ports_differ(tenants: TenantSet, decision: Decision, peer: Peer, flow: Flow) -> bool:
    """Whether the entry would let the flow pass if it named no ports."""
    tenant = tenants.tenants[decision.tenant]
    wide = (msgspec.structs.replace(peer, ports=()),)
    side = {"allow_to": wide} if decision.side is Side.EGRESS else {"allow_from": wide}
    opened = msgspec.structs.replace(tenant, network=msgspec.structs.replace(tenant.network, **side))
    changed = msgspec.structs.replace(tenants, tenants={**tenants.tenants, tenant.name: opened})
    verdict: Verdict = evaluate(changed, flow)
    return (verdict.egress if decision.side is Side.EGRESS else verdict.ingress).rule is Rule.LISTED


def _address(written: str) -> bool:
    try:
        ipaddress.ip_address(written)
    except ValueError:
        return False
    return True
