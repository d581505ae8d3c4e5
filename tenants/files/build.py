"""Checked documents -> the model: defaults filled in, amounts as integers. Pure; called by `load` after
`decode`.

Problems found here are those of single amounts; rules that look at two documents are in the `*_rules`
modules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from tenants.errors import QuantityError
from tenants.files.decode import Declared
from tenants.files.kinds import (
    AllowanceFile,
    GroupFile,
    NodeClassFile,
    PeerFile,
    PoolFile,
    RuntimeClassFile,
    TenantFile,
    TreeFile,
)
from tenants.files.positions import Document, Loc
from tenants.files.problem import Kind, Problem, did_you_mean
from tenants.model import (
    PRIORITY_LIMIT,
    Admin,
    Allowance,
    Dimension,
    Group,
    Isolation,
    Network,
    NodeClass,
    Peer,
    Pool,
    Port,
    RuntimeClass,
    Tenant,
    TenantSet,
    Trust,
)
from tenants.quantity import UNITS, UNLIMITED, Limit, amount

_ALIASES: Final = {"gpu": "nvidia.com/gpu"}


class Amounts:
    """Reads amounts of one document; what is no amount becomes a Problem and counts 0 meanwhile."""

    def __init__(self, document: Document, problems: list[Problem]) -> None:
        self.document = document
        self.problems = problems

    def read(self, loc: Loc, resource: str, text: str) -> int:
        """`text` in the units of `resource`."""
        try:
            return amount(resource, text)
        except QuantityError as error:
            hint = f"did you mean {error.suggestion!r}?" if error.suggestion else ""
            self.problems.append(
                self.document.problem(loc, Kind.QUANTITY, f"{error.text!r} {error.why}", hint)
            )
            return 0

    def limit(self, loc: Loc, resource: str, text: str) -> Limit:
        """The same, or UNLIMITED for the word."""
        return UNLIMITED if text == "unlimited" else self.read(loc, resource, text)

    def resource(self, loc: Loc, written: str) -> str:
        """Canonical name: ResourceQuota's `requests.cpu` and the short `gpu` mean what they say."""
        name = written.removeprefix("requests.")
        name = _ALIASES.get(name, name)
        if name not in UNITS and "/" not in name:
            hint = did_you_mean(name, [*UNITS, *_ALIASES])
            self.problems.append(
                self.document.problem(loc, Kind.UNKNOWN_FIELD, "unknown resource", hint, key=True)
            )
        return name


def assemble(declared: list[Declared]) -> tuple[TenantSet, list[Problem]]:
    """The set that the documents describe; where two have one name, the first counts (`rules` reports it)."""
    problems: list[Problem] = []
    tenants: dict[str, Tenant] = {}
    groups: dict[str, Group] = {}
    pools: dict[str, Pool] = {}
    node_classes: dict[str, NodeClass] = {}
    runtime_classes: dict[str, RuntimeClass] = {}
    for document, file in declared:
        amounts = Amounts(document, problems)
        match file:
            case TenantFile():
                tenants.setdefault(file.name, _tenant(file, amounts))
            case GroupFile():
                quota = dict(_quota(file, amounts))
                groups.setdefault(
                    file.name, Group(name=file.name, parent=file.parent or "", quota=quota, fence=file.fence)
                )
            case PoolFile():
                pools.setdefault(file.name, _pool(file, amounts))
            case NodeClassFile():
                node_classes.setdefault(file.name, _node_class(file))
            case RuntimeClassFile():
                runtime_classes.setdefault(file.metadata.name, _runtime_class(file, amounts))
    default = node_classes.get("default")
    return TenantSet(
        tenants=tenants,
        groups=groups,
        pools=pools,
        node_classes=node_classes,
        runtime_classes=runtime_classes,
        blast_radius=default.blast_radius if default else None,
    ), problems


def _tenant(file: TenantFile, amounts: Amounts) -> Tenant:
    patterns = [file.name] if file.namespaces is None else file.namespaces
    ceiling = 0 if file.trust is Trust.UNTRUSTED else PRIORITY_LIMIT
    wall = file.isolation
    return Tenant(
        name=file.name,
        parent=file.parent or "",
        trust=file.trust,
        isolation=Isolation(
            runtime=wall.runtime,
            co_residency=wall.co_residency,
            cores=wall.cores,
            never_with=frozenset(wall.never_with),
            blast_radius=wall.blast_radius,
        ),
        namespaces=tuple(p for p in patterns if not p.endswith("*")),
        namespace_prefixes=tuple(p[:-1] for p in patterns if p.endswith("*")),
        quota=dict(_quota(file, amounts)),
        reclaim=file.reclaim,
        fence=file.fence,
        priority_ceiling=ceiling if file.priority_ceiling is None else file.priority_ceiling,
        network=_network(file),
        admins=tuple(Admin(kind=a.kind, name=a.name, namespace=a.namespace or "") for a in file.admins),
    )


def _network(file: TenantFile) -> Network:
    stated = file.network
    return Network(
        isolate=stated.isolate,
        dns=stated.dns,
        allow_from=tuple(_peer(peer) for peer in stated.allow_from),
        allow_to=tuple(_peer(peer) for peer in stated.allow_to),
    )


def _peer(file: PeerFile) -> Peer:
    return Peer(
        tenant=file.tenant or "",
        namespace=file.namespace or "",
        cidr=file.cidr or "",
        exclude=tuple(file.except_),
        ports=tuple(Port(protocol=p.protocol, port=p.port, end_port=p.end_port) for p in file.ports),
    )


def _quota(file: TreeFile, amounts: Amounts) -> Iterator[tuple[Dimension, Allowance]]:
    seen: dict[Dimension, str] = {}
    for dimension, loc, stated in _stated(file, amounts):
        written = str(loc[-1])
        if dimension in seen:
            why = f"the quota of {dimension} is declared twice, first as {seen[dimension]!r}"
            amounts.problems.append(
                amounts.document.problem(loc, Kind.QUOTA_TWICE, why, "keep one", key=True)
            )
            continue
        seen[dimension] = written
        yield dimension, _allowance(stated, loc, dimension.resource, file.weight, amounts)


def _stated(file: TreeFile, amounts: Amounts) -> Iterator[tuple[Dimension, Loc, AllowanceFile]]:
    for pool, by_resource in file.quota.items():
        for written, stated in by_resource.items():
            loc: Loc = ("quota", pool, written)
            yield Dimension(pool, amounts.resource(loc, written)), loc, stated
    for pool, by_class in file.runtime_quota.items():
        for name, by_resource in by_class.items():
            for written, stated in by_resource.items():
                loc = ("runtimeQuota", pool, name, written)
                yield Dimension(pool, amounts.resource(loc, written), name), loc, stated


def _allowance(stated: AllowanceFile, loc: Loc, resource: str, weight: int, amounts: Amounts) -> Allowance:
    bare = "guaranteed" in stated.model_fields_set and (*loc, "guaranteed") not in amounts.document.values
    guaranteed = amounts.read((*loc, "guaranteed") if not bare else loc, resource, stated.guaranteed)
    ceiling = guaranteed if bare else amounts.limit((*loc, "max"), resource, stated.max)
    lend = amounts.limit((*loc, "lend"), resource, stated.lend)
    return Allowance(guaranteed=guaranteed, max=ceiling, lend=lend, weight=stated.weight or weight)


def _pool(file: PoolFile, amounts: Amounts) -> Pool:
    offered: dict[str, int] = {}
    for written, text in file.allocatable.items():
        loc: Loc = ("allocatable", written)
        resource = amounts.resource(loc, written)
        offered[resource] = amounts.read(loc, resource, text)
    return Pool(name=file.name, node_labels=file.node_labels, allocatable=offered)


def _node_class(file: NodeClassFile) -> NodeClass:
    return NodeClass(
        name=file.name,
        node_labels=file.node_labels,
        handlers=frozenset(file.handlers),
        blast_radius=file.blast_radius,
    )


def _runtime_class(file: RuntimeClassFile, amounts: Amounts) -> RuntimeClass:
    fixed: Mapping[str, str] = file.overhead.pod_fixed
    costs = {"cpu": 0, "memory": 0}
    for resource in costs:
        if resource in fixed:
            costs[resource] = amounts.read(("overhead", "podFixed", resource), resource, fixed[resource])
    return RuntimeClass(
        name=file.metadata.name,
        handler=file.handler,
        overhead_cpu_milli=costs["cpu"],
        overhead_memory_mib=costs["memory"],
        node_selector=file.scheduling.node_selector,
        tolerations=tuple({k: str(v) for k, v in t.items()} for t in file.scheduling.tolerations),
    )
