"""A second reading of NetworkPolicy, on rendered objects: slow, plain, and written from the API's own words.

It shares no line with `tenants.policy`, so the two disagree wherever one of them is wrong.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, NamedTuple

Json = Mapping[str, Any]


class Host(NamedTuple):
    """A pod, or an address outside the cluster (no namespace)."""

    address: str
    namespace: str = ""
    labels: Mapping[str, str] = {}
    ports: Mapping[tuple[str, str], int] = {}  # (name, protocol) -> number


class Cluster(NamedTuple):
    policies: list[Json]
    namespaces: Mapping[str, Mapping[str, str]]  # labels

    def allows(self, source: Host, destination: Host, port: int, protocol: str) -> bool:
        return self._side(
            source, destination, "Egress", "egress", "to", destination, port, protocol
        ) and self._side(destination, source, "Ingress", "ingress", "from", destination, port, protocol)

    def _side(
        self, own: Host, other: Host, kind: str, rules: str, end: str, target: Host, port: int, protocol: str
    ) -> bool:
        if not own.namespace:
            return True
        mine = [
            policy["spec"]
            for policy in self.policies
            if policy["metadata"]["namespace"] == own.namespace
            and selects(policy["spec"]["podSelector"], own.labels)
            and kind in policy["spec"]["policyTypes"]
        ]
        if not mine:
            return True
        return any(
            self._rule(rule, end, own, other, target, port, protocol)
            for spec in mine
            for rule in spec.get(rules, [])
        )

    def _rule(
        self, rule: Json, end: str, own: Host, other: Host, target: Host, port: int, protocol: str
    ) -> bool:
        peers, ports = rule.get(end), rule.get("ports")
        return (not peers or any(self._peer(peer, own, other) for peer in peers)) and (
            not ports or any(covers(stated, target, port, protocol) for stated in ports)
        )

    def _peer(self, peer: Json, own: Host, other: Host) -> bool:
        if "ipBlock" in peer:
            where = ipaddress.ip_address(other.address)
            blocks = [ipaddress.ip_network(text, strict=False) for text in peer["ipBlock"].get("except", [])]
            return where in ipaddress.ip_network(peer["ipBlock"]["cidr"], strict=False) and not any(
                where in block for block in blocks
            )
        if not other.namespace:
            return False
        if "namespaceSelector" in peer:
            home = selects(peer["namespaceSelector"], self.namespaces.get(other.namespace, {}))
        else:
            home = other.namespace == own.namespace
        return home and selects(peer.get("podSelector", {}), other.labels)


def selects(selector: Json, labels: Mapping[str, str]) -> bool:
    assert not selector.get("matchExpressions"), "we render none"
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def covers(stated: Json, target: Host, port: int, protocol: str) -> bool:
    if stated.get("protocol", "TCP") != protocol:
        return False
    wanted = stated.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return target.ports.get((wanted, protocol)) == port
    first: int = wanted
    last: int = stated.get("endPort", wanted)
    return first <= port <= last
