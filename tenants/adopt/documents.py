"""A model -> the tenant files that say it: the inverse of `files.load`, leaving out what is default. Pure.

`import` writes these; `live.record` keeps them beside the applied objects, so that the next plan can compare
models. `load.parse(text(model))` is the model again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import yaml

from tenants.files.kinds import API_VERSION
from tenants.model import (
    PRIORITY_LIMIT,
    Allowance,
    Group,
    Isolation,
    Network,
    NodeClass,
    Peer,
    Pool,
    Port,
    Quota,
    RuntimeClass,
    Tenant,
    TenantSet,
    Trust,
)
from tenants.quantity import UNLIMITED, Limit, render

Document = dict[str, Any]
_DEFAULT_HANDLERS: Final = NodeClass(name="").handlers


class _Plain(yaml.SafeDumper):
    """Writes every value out: tenant files accept no alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text(documents: Iterable[Document]) -> str:
    """YAML of several documents."""
    written = yaml.dump_all(
        documents, Dumper=_Plain, sort_keys=False, default_flow_style=None, width=110, explicit_start=True
    )
    return str(written).removeprefix("---\n")


def documents(tenants: TenantSet) -> Iterator[Document]:
    """Every document, classes and pools first, each kind by name."""
    for name in sorted(tenants.runtime_classes):
        yield runtime_class(tenants.runtime_classes[name])
    for name in sorted(tenants.node_classes):
        yield node_class(tenants.node_classes[name])
    for name in sorted(tenants.pools):
        yield pool(tenants.pools[name])
    for name in sorted(tenants.groups):
        yield group(tenants.groups[name])
    for name in sorted(tenants.tenants):
        yield tenant(tenants.tenants[name])


def tenant(stated: Tenant) -> Document:
    """kind: Tenant."""
    ceiling = 0 if stated.trust is Trust.UNTRUSTED else PRIORITY_LIMIT
    namespaces = [*stated.namespaces, *(f"{prefix}*" for prefix in stated.namespace_prefixes)]
    return _head("Tenant", stated) | _stated(
        ("trust", stated.trust.value, None),
        ("isolation", _isolation(stated.isolation), {}),
        ("namespaces", namespaces, [stated.name]),
        *_quota(stated.quota),
        ("reclaim", stated.reclaim, True),
        ("fence", stated.fence, False),
        ("priorityCeiling", stated.priority_ceiling, ceiling),
        ("network", _network(stated.network), {}),
        ("admins", [_stated(("kind", a.kind, None), ("name", a.name, None), ("namespace", a.namespace, ""))
                    for a in stated.admins], []),
    )  # fmt: skip


def group(stated: Group) -> Document:
    """kind: TenantGroup."""
    return _head("TenantGroup", stated) | _stated(*_quota(stated.quota), ("fence", stated.fence, False))


def pool(stated: Pool) -> Document:
    """kind: Pool."""
    offered = {resource: render(resource, value) for resource, value in stated.allocatable.items()}
    return {"apiVersion": API_VERSION, "kind": "Pool", "name": stated.name} | _stated(
        ("nodeLabels", dict(stated.node_labels), {}), ("allocatable", offered, {})
    )


def node_class(stated: NodeClass) -> Document:
    """kind: NodeClass."""
    return {"apiVersion": API_VERSION, "kind": "NodeClass", "name": stated.name} | _stated(
        ("nodeLabels", dict(stated.node_labels), {}),
        ("handlers", sorted(stated.handlers), sorted(_DEFAULT_HANDLERS)),
        ("blastRadius", stated.blast_radius, None),
    )


def runtime_class(stated: RuntimeClass) -> Document:
    """A node.k8s.io/v1 RuntimeClass, as far as the model keeps it."""
    fixed = _stated(
        ("cpu", render("cpu", stated.overhead_cpu_milli), "0"),
        ("memory", render("memory", stated.overhead_memory_mib), "0Mi"),
    )
    scheduling = _stated(
        ("nodeSelector", dict(stated.node_selector), {}),
        ("tolerations", [dict(one) for one in stated.tolerations], []),
    )
    return {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": stated.name},
            "handler": stated.handler} | _stated(
        ("overhead", {"podFixed": fixed} if fixed else {}, {}), ("scheduling", scheduling, {})
    )  # fmt: skip


def _head(kind: str, stated: Tenant | Group) -> Document:
    return {"apiVersion": API_VERSION, "kind": kind, "name": stated.name} | _stated(
        ("parent", stated.parent, ""), ("weight", _common_weight(stated.quota), 1)
    )


def _stated(*fields: tuple[str, Any, Any]) -> Document:
    """The fields (name, value, default) that differ from their default."""
    return {name: value for name, value, default in fields if value != default}


def _isolation(wall: Isolation) -> Document:
    plain = Isolation()
    return _stated(
        ("runtime", wall.runtime.value, plain.runtime.value),
        ("coResidency", wall.co_residency.value, plain.co_residency.value),
        ("cores", wall.cores.value, plain.cores.value),
        ("neverWith", sorted(wall.never_with), []),
        ("blastRadius", wall.blast_radius, None),
    )


def _common_weight(quota: Quota) -> int:
    weights = {share.weight for share in quota.values()}
    return weights.pop() if len(weights) == 1 else 1


def _quota(quota: Quota) -> Iterator[tuple[str, Document, Document]]:
    """`quota` by pool and resource, `runtimeQuota` by pool, class and resource."""
    weight = _common_weight(quota)
    plain: Document = {}
    by_class: Document = {}
    for dimension, share in quota.items():
        place = plain.setdefault(dimension.pool, {}) if not dimension.runtime_class else (
            by_class.setdefault(dimension.pool, {}).setdefault(dimension.runtime_class, {}))  # fmt: skip
        place[dimension.resource] = _allowance(dimension.resource, share, weight)
    yield "quota", plain, {}
    yield "runtimeQuota", by_class, {}


def _allowance(resource: str, share: Allowance, weight: int) -> Document | str:
    guaranteed = render(resource, share.guaranteed)
    if share == Allowance(guaranteed=share.guaranteed, max=share.guaranteed, weight=weight):
        return guaranteed
    return {"guaranteed": guaranteed} | _stated(
        ("max", _limit(resource, share.max), "unlimited"),
        ("lend", _limit(resource, share.lend), "unlimited"),
        ("weight", share.weight, weight),
    )


def _limit(resource: str, limit: Limit) -> str:
    return "unlimited" if limit is UNLIMITED else render(resource, limit)


def _network(network: Network) -> Document:
    return _stated(
        ("isolate", network.isolate, True),
        ("dns", network.dns, True),
        ("allowFrom", [_peer(peer) for peer in network.allow_from], []),
        ("allowTo", [_peer(peer) for peer in network.allow_to], []),
    )


def _peer(peer: Peer) -> Document:
    return _stated(
        ("tenant", peer.tenant, ""),
        ("namespace", peer.namespace, ""),
        ("cidr", peer.cidr, ""),
        ("except", list(peer.exclude), []),
        ("ports", [_port(port) for port in peer.ports], []),
    )


def _port(port: Port) -> Document | int | str:
    if port.protocol == "TCP" and port.end_port is None and port.port is not None:
        return port.port
    return _stated(
        ("protocol", port.protocol, "TCP"), ("port", port.port, None), ("endPort", port.end_port, None)
    )


def by_file(tenants: TenantSet) -> Mapping[str, str]:
    """File name -> text: one file per tenant, the rest in groups.yaml, pools.yaml and so on."""
    shared = {
        "runtimeclasses.yaml": [runtime_class(one) for _, one in sorted(tenants.runtime_classes.items())],
        "nodeclasses.yaml": [node_class(one) for _, one in sorted(tenants.node_classes.items())],
        "pools.yaml": [pool(one) for _, one in sorted(tenants.pools.items())],
        "groups.yaml": [group(one) for _, one in sorted(tenants.groups.items())],
    }
    files = {name: text(found) for name, found in shared.items() if found}
    return files | {
        f"tenant-{name}.yaml": text([tenant(one)]) for name, one in sorted(tenants.tenants.items())
    }
