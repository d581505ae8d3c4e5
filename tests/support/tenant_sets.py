"""Random sets of tenants for hypothesis: small worlds in which every part of the model occurs."""

from __future__ import annotations

from hypothesis import strategies as st

from tenants.model import (
    PRIORITY_LIMIT,
    Admin,
    Allowance,
    Cores,
    CoResidency,
    Dimension,
    Group,
    Isolation,
    Network,
    NodeClass,
    Peer,
    Pool,
    Port,
    Quota,
    Runtime,
    RuntimeClass,
    Tenant,
    TenantSet,
    Trust,
)
from tenants.quantity import UNLIMITED

NAMES = ("alpha", "beta", "gamma")
STRANGERS = ("ingress-system", "monitoring")
BLOCKS = ("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24", "2001:db8::/32")
RESOURCES = ("cpu", "memory", "nvidia.com/gpu", "pods", "sandboxes")
CLASSES = {
    "bulkhead": RuntimeClass(
        name="bulkhead", handler="bulkhead", overhead_cpu_milli=100, overhead_memory_mib=128
    ),
    "runc": RuntimeClass(name="runc", handler="runc"),
}

protocols = st.sampled_from(["TCP", "UDP", "SCTP"])
numbers = st.sampled_from([53, 80, 81, 443, 8000, 8080])


@st.composite
def ports(draw: st.DrawFn) -> Port:
    protocol = draw(protocols)
    match draw(st.sampled_from(["any", "number", "range", "name"])):
        case "any":
            return Port(protocol=protocol)
        case "number":
            return Port(protocol=protocol, port=draw(numbers))
        case "range":
            first = draw(numbers)
            return Port(protocol=protocol, port=first, end_port=first + draw(st.integers(0, 500)))
        case _:
            return Port(protocol=protocol, port=draw(st.sampled_from(["http", "metrics"])))


@st.composite
def peers(draw: st.DrawFn, names: tuple[str, ...]) -> Peer:
    stated = tuple(draw(st.lists(ports(), max_size=2)))
    match draw(st.sampled_from(["tenant", "namespace", "cidr"])):
        case "tenant":
            return Peer(tenant=draw(st.sampled_from(names)), ports=stated)
        case "namespace":
            return Peer(namespace=draw(st.sampled_from(STRANGERS)), ports=stated)
        case _:
            block = draw(st.sampled_from(BLOCKS))
            inside = {"0.0.0.0/0": "10.0.0.0/8", "10.0.0.0/8": "10.1.0.0/16"}.get(block)
            exclude = (inside,) if inside and draw(st.booleans()) else ()
            return Peer(cidr=block, exclude=exclude, ports=stated)


def networks(names: tuple[str, ...]) -> st.SearchStrategy[Network]:
    listed = st.lists(peers(names), max_size=3).map(tuple)
    return st.builds(Network, isolate=st.sampled_from([True, True, False]), dns=st.booleans(),
                     allow_from=listed, allow_to=listed)  # fmt: skip


@st.composite
def allowances(draw: st.DrawFn) -> Allowance:
    guaranteed = draw(st.integers(0, 20)) * 1000
    extra, lend = draw(st.none() | st.integers(0, 10)), draw(st.none() | st.integers(0, guaranteed))
    return Allowance(
        guaranteed=guaranteed,
        max=UNLIMITED if extra is None else guaranteed + extra * 1000,
        lend=UNLIMITED if lend is None else lend,
        weight=draw(st.integers(1, 3)),
    )


def quotas(classes: bool = True) -> st.SearchStrategy[Quota]:
    """Always CPU and memory, which tenant files must state."""
    names = st.sampled_from(["", "bulkhead"] if classes else [""])
    rest = st.dictionaries(
        st.builds(Dimension, st.just("default"), st.sampled_from(RESOURCES), names), allowances(), max_size=4
    )
    needed = st.fixed_dictionaries(
        {Dimension("default", "cpu"): allowances(), Dimension("default", "memory"): allowances()}
    )
    return st.tuples(needed, rest).map(lambda pair: {**pair[1], **pair[0]})


@st.composite
def tenants(draw: st.DrawFn, name: str, names: tuple[str, ...], groups: tuple[str, ...]) -> Tenant:
    trust = draw(st.sampled_from(Trust))
    runtimes = [Runtime.AUTO, Runtime.BULKHEAD] + ([Runtime.RUNC] if trust is Trust.TRUSTED else [])
    others = [other for other in names if other != name]
    return Tenant(
        name=name,
        parent=draw(st.sampled_from(["", *groups])),
        trust=trust,
        isolation=Isolation(
            runtime=draw(st.sampled_from(runtimes)),
            co_residency=draw(st.sampled_from(CoResidency)),
            cores=draw(st.sampled_from(Cores)),
            never_with=frozenset(draw(st.lists(st.sampled_from(others), max_size=1)) if others else []),
            blast_radius=draw(st.none() | st.integers(1, 4)),
        ),
        namespaces=draw(st.sampled_from([(name,), (name, f"{name}2"), ()])),
        namespace_prefixes=draw(st.sampled_from([(), (f"{name}-",)])),
        quota=draw(quotas()),
        reclaim=draw(st.booleans()),
        fence=draw(st.booleans()),
        priority_ceiling=draw(st.sampled_from([-5, 0, 1000, PRIORITY_LIMIT])),
        network=draw(networks(names)),
        admins=tuple(draw(st.lists(st.sampled_from(ADMINS), max_size=2, unique=True))),
    )


ADMINS = (
    Admin(kind="User", name="ada@example.org"),
    Admin(kind="Group", name="on"),  # a word that YAML 1.1 takes for a boolean
    Admin(kind="ServiceAccount", name="deployer", namespace="ci"),
)


@st.composite
def tenant_sets(draw: st.DrawFn, least: int = 1) -> TenantSet:
    names = NAMES[: draw(st.integers(least, len(NAMES)))]
    groups = ("org",) if draw(st.booleans()) else ()
    made = {name: draw(tenants(name, names, groups)) for name in names}
    return TenantSet(
        tenants=made,
        groups={name: _group(name, list(made.values())) for name in groups},
        pools={"a100": Pool(name="a100", node_labels={"gpu": "a100"})} if draw(st.booleans()) else {},
        node_classes={"plain": NodeClass(name="plain", node_labels={"kvm": "no"}, handlers=frozenset({"runc"}))}
        if draw(st.booleans()) else {},
        runtime_classes=CLASSES,
    )  # fmt: skip


def _group(name: str, everybody: list[Tenant]) -> Group:
    """Guarantees at least what its members do, as the loader demands."""
    members = [tenant for tenant in everybody if tenant.parent == name]
    dimensions = sorted({dimension for tenant in members for dimension in tenant.quota})
    quota = {
        dimension: Allowance(
            guaranteed=sum(t.quota[dimension].guaranteed for t in members if dimension in t.quota)
        )
        for dimension in dimensions
    }
    return Group(name=name, quota=quota)
