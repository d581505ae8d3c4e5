"""The network evaluator against the rendered objects, and the flow effects against asking every flow."""

from __future__ import annotations

import itertools
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from tenants.adopt import documents
from tenants.files import load
from tenants.manifests import render
from tenants.model import TenantSet
from tenants.plan.effect import Impact, Kind
from tenants.plan.effects import effects
from tenants.plan.flow_effects import namespace_of
from tenants.policy import End, Flow, evaluate
from tests.support.netpol import Cluster, Host
from tests.support.tenant_sets import NAMES, STRANGERS, tenant_sets

NAMED = {("http", "TCP"): 8080, ("metrics", "UDP"): 81}
OUTSIDE = (
    "10.1.2.3",
    "10.9.9.9",
    "192.0.2.7",
    "198.51.100.1",
    "2001:db8::1",
    "2001:4860::8",
    "169.254.169.254",
    "fd00:ec2::254",
    "169.254.170.2",
    "100.100.100.200",
)
HOMES = [*NAMES, *(f"{name}2" for name in NAMES), *(f"{name}-x" for name in NAMES), *STRANGERS, "kube-system"]
HOSTS = [
    Host(f"10.244.{number}.1", home, {"k8s-app": "kube-dns"} if home == "kube-system" else {}, NAMED)
    for number, home in enumerate(HOMES)
] + [Host(address) for address in OUTSIDE]


def cluster_of(tenants: TenantSet) -> Cluster:
    """The rendered policies, in a cluster that has every namespace of HOMES."""
    manifests = render(tenants, live_namespaces=HOMES)
    labels = {home: {"kubernetes.io/metadata.name": home} for home in HOMES}
    for manifest in manifests:
        if manifest["kind"] == "Namespace":
            labels[manifest["metadata"]["name"]] |= manifest["metadata"]["labels"]
    return Cluster([one for one in manifests if one["kind"] == "NetworkPolicy"], labels)


def name_of(port: int, protocol: str) -> str:
    return next((name for (name, kind), number in NAMED.items() if (number, kind) == (port, protocol)), "")


@settings(max_examples=100, deadline=None)
@given(tenant_sets(), st.data())
def test_the_evaluator_and_the_rendered_policies_agree_on_every_flow(
    tenants: TenantSet, data: st.DataObject
) -> None:
    cluster = cluster_of(tenants)
    ends = data.draw(
        st.lists(st.sampled_from(HOSTS), min_size=4, max_size=6, unique_by=lambda host: host.address)
    )
    for source, destination in itertools.permutations(ends, 2):
        for port, protocol in (
            (53, "UDP"),
            (80, "TCP"),
            (81, "UDP"),
            (443, "TCP"),
            (8080, "TCP"),
            (8400, "SCTP"),
        ):
            flow = Flow(
                source=End(source.namespace, source.address),
                destination=End(destination.namespace, destination.address),
                port=port,
                port_name=name_of(port, protocol) if destination.namespace else "",
                protocol=protocol,
            )
            want = cluster.allows(source, destination, port, protocol)
            assert evaluate(tenants, flow).allowed is want, (flow, evaluate(tenants, flow))


@settings(max_examples=50, deadline=None)
@given(tenant_sets(least=3), tenant_sets(least=3), st.sampled_from([22, 53, 80, 81, 443, 8000, 8080, 8300]))
def test_a_flow_between_tenants_is_told_exactly_when_it_changes(
    old: TenantSet, new: TenantSet, port: int
) -> None:
    told = [effect for effect in effects(old, new) if effect.kind is Kind.FLOW]
    for source, destination in itertools.permutations(NAMES, 2):
        ends = [
            End(namespace_of(model.tenants[name])) for model in (old, new) for name in (source, destination)
        ]
        if not all(end.namespace for end in ends):
            continue  # a tenant that may have no namespace has no flows
        before = evaluate(old, Flow(source=ends[0], destination=ends[1], port=port)).allowed
        after = evaluate(new, Flow(source=ends[2], destination=ends[3], port=port)).allowed
        for opens, impact in ((True, Impact.WEAKENS), (False, Impact.DISRUPTS)):
            lines = [effect.text for effect in told if effect.impact is impact]
            found = any(tells(line, source, destination, port) for line in lines)
            assert found is ((before, after) == (not opens, opens)), (source, destination, port, lines)


def tells(line: str, source: str, destination: str, port: int) -> bool:
    """Whether a line of the plan covers this TCP flow."""
    match = re.fullmatch(rf"flow {source} -> {destination}:(\S+) (opens|closes)", line)
    return match is not None and any(covers(word, port) for word in match.group(1).split(","))


def covers(word: str, port: int) -> bool:
    if word in {"*", "*/TCP"}:
        return True
    numbers = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
    return numbers is not None and int(numbers[1]) <= port <= int(numbers[2] or numbers[1])


@settings(max_examples=200, deadline=None)
@given(tenant_sets())
def test_what_is_written_as_tenant_files_reads_back_as_the_same_model(tenants: TenantSet) -> None:
    assert load.parse({"all.yaml": documents.text(documents.documents(tenants))}) == tenants
    assert load.parse(documents.by_file(tenants)) == tenants


@settings(max_examples=60, deadline=None)
@given(tenant_sets())
def test_nothing_changes_from_a_model_to_itself(tenants: TenantSet) -> None:
    assert effects(tenants, tenants, []) == []
