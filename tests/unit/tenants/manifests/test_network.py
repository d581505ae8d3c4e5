"""NetworkPolicies say what the model says: evaluated by a naive reader of the Kubernetes rules, flow by flow."""

from __future__ import annotations

import ipaddress
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenants.manifests.network import network_policies
from tenants.model import Network, Peer, Port, Tenant


class End(NamedTuple):
    """A pod of a namespace, or an address outside (no namespace)."""

    address: str
    namespace: str = ""
    tenant: str = ""
    dns: bool = False


METADATA = ("169.254.169.254", "fd00:ec2::254", "169.254.170.2", "100.100.100.200")
ENDS = [
    End("10.0.1.1", "a", "a"),
    End("10.0.1.2", "a-two", "a"),
    End("10.0.2.1", "b", "b"),
    End("10.0.3.1", "ingress"),
    End("10.0.9.9", "kube-system", dns=True),
    End("10.0.9.8", "kube-system"),
    End("192.0.2.7"),
    End("10.7.0.1"),
    *map(End, METADATA),
    End("2001:db8::1"),
]


def evaluate(policies: list[dict[str, Any]], direction: str, end: End, protocol: str, port: int) -> bool:
    """NetworkPolicy v1 for a pod that every policy selects: policies, rules and peers are each OR'ed."""
    side, kind = ("from", "Ingress") if direction == "ingress" else ("to", "Egress")
    isolating = [p["spec"] for p in policies if kind in p["spec"]["policyTypes"]]
    return not isolating or any(
        (side not in rule or any(selects(peer, end) for peer in rule[side]))
        and ("ports" not in rule or any(opens(each, protocol, port) for each in rule["ports"]))
        for spec in isolating
        for rule in spec.get(direction, [])
    )


def selects(peer: dict[str, Any], end: End) -> bool:
    if "ipBlock" in peer:
        address, block = ipaddress.ip_address(end.address), peer["ipBlock"]
        inside = address in ipaddress.ip_network(block["cidr"], strict=False)
        return inside and not any(address in ipaddress.ip_network(e) for e in block.get("except", ()))
    labels = {"kubernetes.io/metadata.name": end.namespace, "bulkhead.dev/tenant": end.tenant}
    wanted = peer["namespaceSelector"].get("matchLabels", {})
    pod = {"k8s-app": "kube-dns"} if end.dns else {}
    of_pod = peer.get("podSelector", {}).get("matchLabels", {})
    return (
        bool(end.namespace)
        and all(labels[k] == v for k, v in wanted.items())
        and of_pod.items() <= pod.items()
    )


def opens(rule: dict[str, Any], protocol: str, port: int) -> bool:
    if rule["protocol"] != protocol:
        return False
    first = rule.get("port")
    return first is None or first <= port <= rule.get("endPort", first)


def allowed(network: Network, direction: str, end: End, protocol: str, port: int) -> bool:
    """What the model's own words say about a pod of tenant a."""
    if end.address in METADATA:
        return direction == "ingress" and not network.isolate
    if not network.isolate or end.tenant == "a":
        return True
    if direction == "egress" and network.dns and end.dns and port == 53 and protocol in ("TCP", "UDP"):
        return True
    peers = network.allow_to if direction == "egress" else network.allow_from
    return any(meets(peer, end) and reaches(peer.ports, protocol, port) for peer in peers)


def meets(peer: Peer, end: End) -> bool:
    if peer.tenant:
        return end.tenant == peer.tenant
    if peer.namespace:
        return end.namespace == peer.namespace
    address = ipaddress.ip_address(end.address)
    inside = address in ipaddress.ip_network(peer.cidr, strict=False)
    return inside and not any(address in ipaddress.ip_network(e) for e in peer.exclude)


def reaches(ports: tuple[Port, ...], protocol: str, number: int) -> bool:
    def one(port: Port) -> bool:
        if port.protocol != protocol:
            return False
        return port.port is None or (
            isinstance(port.port, int) and port.port <= number <= (port.end_port or port.port)
        )

    return not ports or any(map(one, ports))


PORTS = st.sampled_from([
    Port(), Port(port=80), Port(port=53), Port(protocol="UDP", port=53), Port(port=80, end_port=443),
    Port(protocol="SCTP"),
])  # fmt: skip
PEERS = st.builds(
    lambda end, ports: Peer(**end, ports=tuple(ports)),
    st.sampled_from([
        {"tenant": "b"}, {"namespace": "ingress"}, {"namespace": "kube-system"}, {"cidr": "192.0.2.0/24"},
        {"cidr": "0.0.0.0/0", "exclude": ("10.0.0.0/8",)}, {"cidr": "0.0.0.0/0"}, {"cidr": "::/0"},
        {"cidr": "169.254.0.0/16"}, {"cidr": "169.254.169.254/32"}, {"cidr": "fd00:ec2::/32"},
        {"cidr": "169.254.170.2/32"}, {"cidr": "100.64.0.0/10"},
        {"cidr": "10.7.3.9/8"},
    ]),
    st.lists(PORTS, max_size=2),
)  # fmt: skip
NETWORKS = st.builds(
    Network,
    isolate=st.booleans(),
    dns=st.booleans(),
    allow_from=st.lists(PEERS, max_size=3).map(tuple),
    allow_to=st.lists(PEERS, max_size=3).map(tuple),
)


@given(NETWORKS)
def test_every_flow_passes_exactly_where_the_model_lets_it(network: Network) -> None:
    policies = list(network_policies(Tenant(name="a", network=network), "a"))
    for direction in ("ingress", "egress"):
        for end in ENDS:
            for protocol, port in (("TCP", 80), ("TCP", 200), ("TCP", 53), ("UDP", 53), ("SCTP", 9)):
                want = allowed(network, direction, end, protocol, port)
                assert evaluate(policies, direction, end, protocol, port) is want, (
                    direction,
                    end,
                    protocol,
                    port,
                )


@given(NETWORKS, st.sampled_from(METADATA), st.integers(1, 65535))
def test_the_metadata_address_is_closed_whatever_a_file_says(
    network: Network, address: str, port: int
) -> None:
    policies = list(network_policies(Tenant(name="a", network=network), "a"))
    assert not evaluate(policies, "egress", End(address), "TCP", port)


@given(NETWORKS)
def test_every_except_lies_strictly_inside_its_block(network: Network) -> None:
    for policy in network_policies(Tenant(name="a", network=network), "a"):
        for rule in policy["spec"].get("egress", []) + policy["spec"].get("ingress", []):
            for peer in rule.get("to", []) + rule.get("from", []):
                block = peer.get("ipBlock", {})
                for part in map(ipaddress.ip_network, block.get("except", ())):
                    whole = ipaddress.ip_network(block["cidr"], strict=False)
                    assert part.version == whole.version
                    assert part.prefixlen > whole.prefixlen
                    assert part.network_address in whole


def test_an_isolated_tenant_talks_to_itself_and_to_dns() -> None:
    [policy] = network_policies(Tenant(name="a"), "a")
    assert policy["metadata"]["name"] == "bulkhead-isolate"
    assert policy["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"bulkhead.dev/tenant": "a"}}}]}],
        "egress": [
            {"to": [{"namespaceSelector": {"matchLabels": {"bulkhead.dev/tenant": "a"}}}]},
            {
                "to": [
                    {
                        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
                    }
                ],
                "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
            },
        ],
    }


@pytest.mark.parametrize(
    ("peer", "want"),
    [
        (Peer(cidr="10.10.1.12/24"), {"cidr": "10.10.1.12/24"}),
        (Peer(cidr="0.0.0.0/0", exclude=("10.0.0.0/8",)),
         {"cidr": "0.0.0.0/0",
          "except": ["10.0.0.0/8", "100.100.100.200/32", "169.254.169.254/32", "169.254.170.2/32"]}),
        (Peer(cidr="169.254.170.0/24"), {"cidr": "169.254.170.0/24", "except": ["169.254.170.2/32"]}),
        (Peer(cidr="::/0"), {"cidr": "::/0", "except": ["fd00:ec2::254/128"]}),
    ],
)  # fmt: skip
def test_a_block_is_written_as_stated_less_the_metadata_addresses(peer: Peer, want: dict[str, Any]) -> None:
    tenant = Tenant(name="a", network=Network(allow_to=(peer,)))
    [_, policy] = network_policies(tenant, "a")
    assert policy["metadata"]["name"] == "bulkhead-allow"
    assert policy["spec"]["egress"] == [{"to": [{"ipBlock": want}]}]


def test_a_port_range_and_a_named_port_are_kept() -> None:
    ports = (Port(port=8000, end_port=8999), Port(port="web"), Port(protocol="SCTP"))
    tenant = Tenant(name="a", network=Network(allow_from=(Peer(tenant="b", ports=ports),)))
    [_, policy] = network_policies(tenant, "a")
    assert policy["spec"]["ingress"][0]["ports"] == [
        {"protocol": "TCP", "port": 8000, "endPort": 8999},
        {"protocol": "TCP", "port": "web"},
        {"protocol": "SCTP"},
    ]
