"""Checked documents -> the model: defaults filled in, amounts as integers. Pure; called by `load` after
`decode`, which has refused whatever can't be turned into a model.
"""

from __future__ import annotations

from collections.abc import Iterator

from tenants.files.decode import Declared
from tenants.files.kinds import (
    AllowanceFile,
    GroupFile,
    NodeClassFile,
    PeerFile,
    PoolFile,
    RuntimeClassFile,
    TenantFile,
    TolerationFile,
    TreeFile,
)
from tenants.files.positions import Loc
from tenants.files.scalars import canonical
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
from tenants.quantity import UNLIMITED, Limit, amount


def assemble(declared: list[Declared]) -> TenantSet:
    """The set that the documents describe; where two have one name, the first counts (`rules` reports it)."""
    tenants: dict[str, Tenant] = {}
    groups: dict[str, Group] = {}
    pools: dict[str, Pool] = {}
    node_classes: dict[str, NodeClass] = {}
    runtime_classes: dict[str, RuntimeClass] = {}
    for file in (one.file for one in declared):
        match file:
            case TenantFile() if file.name not in groups:
                tenants.setdefault(file.name, _tenant(file))
            case GroupFile() if file.name not in tenants:
                groups.setdefault(file.name, _group(file))
            case TenantFile() | GroupFile():
                continue
            case PoolFile():
                pools.setdefault(file.name, _pool(file))
            case NodeClassFile():
                node_classes.setdefault(file.name, _node_class(file))
            case RuntimeClassFile():
                runtime_classes.setdefault(file.metadata.name, _runtime_class(file))
    default = node_classes.get("default")
    return TenantSet(
        tenants=tenants,
        groups=groups,
        pools=pools,
        node_classes=node_classes,
        runtime_classes=runtime_classes,
        blast_radius=default.blast_radius if default else None,
    )


def shares(file: TreeFile) -> Iterator[tuple[Dimension, Loc, AllowanceFile]]:
    """Every share that a document states, and where; a dimension comes twice if it is written twice."""
    for pool, by_resource in file.quota.items():
        for written, stated in by_resource.items():
            yield Dimension(pool, canonical(written)), ("quota", pool, written), stated
    for pool, by_class in file.runtime_quota.items():
        for name, by_resource in by_class.items():
            for written, stated in by_resource.items():
                loc = ("runtimeQuota", pool, name, written)
                yield Dimension(pool, canonical(written), name), loc, stated


def _tenant(file: TenantFile) -> Tenant:
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
        quota=_quota(file),
        reclaim=file.reclaim,
        fence=file.fence,
        priority_ceiling=ceiling if file.priority_ceiling is None else file.priority_ceiling,
        network=_network(file),
        admins=tuple(Admin(kind=a.kind, name=a.name, namespace=a.namespace or "") for a in file.admins),
    )


def _group(file: GroupFile) -> Group:
    return Group(name=file.name, parent=file.parent or "", quota=_quota(file), fence=file.fence)


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


def _quota(file: TreeFile) -> dict[Dimension, Allowance]:
    quota: dict[Dimension, Allowance] = {}
    for dimension, _, stated in shares(file):
        quota.setdefault(dimension, _allowance(stated, dimension.resource, file.weight))
    return quota


def _allowance(stated: AllowanceFile, resource: str, weight: int) -> Allowance:
    return Allowance(
        guaranteed=amount(resource, stated.guaranteed),
        max=_limit(resource, stated.max),
        lend=_limit(resource, stated.lend),
        weight=stated.weight or weight,
    )


def _limit(resource: str, written: str) -> Limit:
    return UNLIMITED if written == "unlimited" else amount(resource, written)


def _pool(file: PoolFile) -> Pool:
    offered = {
        canonical(written): amount(canonical(written), text) for written, text in file.allocatable.items()
    }
    return Pool(name=file.name, node_labels=file.node_labels, allocatable=offered)


def _node_class(file: NodeClassFile) -> NodeClass:
    return NodeClass(
        name=file.name,
        node_labels=file.node_labels,
        handlers=frozenset(file.handlers),
        blast_radius=file.blast_radius,
    )


def _runtime_class(file: RuntimeClassFile) -> RuntimeClass:
    fixed = file.overhead.pod_fixed
    return RuntimeClass(
        name=file.metadata.name,
        handler=file.handler,
        overhead_cpu_milli=amount("cpu", fixed.get("cpu", "0")),
        overhead_memory_mib=amount("memory", fixed.get("memory", "0")),
        node_selector=file.scheduling.node_selector,
        tolerations=tuple(_toleration(one) for one in file.scheduling.tolerations),
    )


def _toleration(file: TolerationFile) -> dict[str, str]:
    return {key: str(value) for key, value in file.model_dump(by_alias=True, exclude_none=True).items()}
