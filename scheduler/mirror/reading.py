"""API objects -> records: whose pod it is, what it asks, what it costs, how far it is. Pure; called by `mirror`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Final

import msgspec

from scheduler.kube import convert
from scheduler.kube.objects import NodeObject, PodObject
from scheduler.mirror.pools import pool_of_node, pool_of_shape
from scheduler.mirror.record import GATE, PodRecord, Stage
from scheduler.mirror.template import Templates
from scheduler.model import Amounts, Node, Requirement, Shape
from tenants import isolation
from tenants.model import DEFAULT_POOL, RuntimeClass, TenantSet

GROUP_LABEL: Final = "scheduling.bulkhead.dev/group"
GROUP_SIZE: Final = "scheduling.bulkhead.dev/group-size"
MOST_MEMBERS: Final = 10_000
NATIVE: Final = "PodGroup/"
"""What the name of a group begins with that is an object; no label can say so, for it may hold no slash."""
UNKNOWN_SIZE: Final = 1 << 30
"""Of a PodGroup that has not been seen yet: its pods wait until it is."""


@functools.lru_cache(maxsize=50_000)
def standing_shape(shape: Shape) -> Shape:
    """What still matters of a shape once the pod stands: where it wished to go would split the node classes."""
    return msgspec.structs.replace(shape, node_selector=(), affinity=(), tolerations=())


@functools.lru_cache(maxsize=50_000)
def guarded_shape(shape: Shape) -> Shape:
    """What the guard looks at: kube-scheduler has seen to selectors and affinity before it asks."""
    return msgspec.structs.replace(shape, node_selector=(), affinity=())


class Reader:
    """Reads objects under one set of tenant files."""

    def __init__(self, tenants: TenantSet, group_sizes: Mapping[str, int]) -> None:
        self._tenants, self._group_sizes = tenants, group_sizes
        self._owners: dict[str, str] = {}
        self._templates = Templates()
        self._excluded = _outside_labelled_pools(tenants)

    def node(self, found: NodeObject) -> Node:
        """The node as placement sees it."""
        return convert.node_of(found)

    def pod(self, found: PodObject, nodes: Mapping[str, Node]) -> PodRecord:
        """The pod with its tenant, its charge and its stage."""
        meta, spec = found.metadata, found.spec
        tenant = self._owner(meta.namespace)
        shape, charged, _ = self._templates.of(spec, tenant, lambda: self._made(found, tenant))
        pool = self._pool(shape, spec.node_name, nodes)
        charge = convert.charge_of(found, tenant, pool, None, charged)
        record = PodRecord(
            uid=meta.uid,
            namespace=meta.namespace,
            name=meta.name,
            tenant=tenant,
            shape=shape,
            charge=charge,
            stage=_stage(found),
            node=spec.node_name,
            priority=spec.priority,
            labels=meta.labels,
            affinity=spec.affinity,
            raw=found.raw,
            version=meta.resource_version,
            owner=next((owner.kind for owner in meta.owner_references if owner.controller), ""),
            born=charge.born,
        )
        if spec.scheduling_group is not None and spec.scheduling_group.pod_group_name:
            record.group = NATIVE + spec.scheduling_group.pod_group_name
            record.group_size = self._group_sizes.get(f"{meta.namespace}/{record.group}", UNKNOWN_SIZE)
        else:
            record.group, record.group_size = group_of(meta.labels)
        return record

    def _made(self, found: PodObject, tenant: str) -> tuple[Shape, Amounts]:
        shape = convert.shape_of(found, tenant)
        return shape, convert.charged_amounts(found.spec, self._class_of(shape))

    def renew(self, record: PodRecord, nodes: Mapping[str, Node]) -> None:
        """Judge a known pod by new tenant files."""
        record.tenant = self._owner(record.namespace)
        record.shape = msgspec.structs.replace(record.shape, tenant=record.tenant)
        pool = self._pool(record.shape, record.node, nodes)
        record.charge = msgspec.structs.replace(record.charge, tenant=record.tenant, pool=pool)

    def in_pool(self, record: PodRecord) -> Shape:
        """The shape, kept to the nodes of the pool that its charge draws from."""
        shape, charge = record.shape, record.charge
        if not self._excluded:
            return shape
        if charge.pool != DEFAULT_POOL:
            wanted = dict(shape.node_selector) | dict(self._tenants.pools[charge.pool].node_labels)
            return msgspec.structs.replace(shape, node_selector=tuple(sorted(wanted.items())))
        terms = shape.affinity or ((),)
        return msgspec.structs.replace(shape, affinity=tuple((*term, *self._excluded) for term in terms))

    def _owner(self, namespace: str) -> str:
        known = self._owners.get(namespace)
        if known is None:
            tenant = self._tenants.tenant_of(namespace)
            known = self._owners[namespace] = tenant.name if tenant else ""
        return known

    def _pool(self, shape: Shape, node: str, nodes: Mapping[str, Node]) -> str:
        """The pool of the node where the pod stands; before that, the one it asks for."""
        pools = self._tenants.pools
        if not pools:
            return DEFAULT_POOL
        known = nodes.get(node)
        return pool_of_node(known, pools) if known else pool_of_shape(shape, pools)

    def _class_of(self, shape: Shape) -> RuntimeClass | None:
        """The class that the tenant's rules give the pod; what they refuse costs what it declares."""
        tenant, classes = self._tenants.tenants.get(shape.tenant), self._tenants.runtime_classes
        if tenant is not None:
            choice = isolation.choose_runtime(tenant, shape.runtime_class, classes)
            if isinstance(choice, isolation.Choice):
                return choice.runtime_class
        return classes.get(shape.runtime_class)


def pinned_to(shape: Shape) -> str:
    """The one node that a shape's affinity names, as the DaemonSet controller writes it; else empty."""
    if len(shape.affinity) != 1:
        return ""
    names = [
        need.values for need in shape.affinity[0] if need.key == "metadata.name" and need.operator == "In"
    ]
    return names[0][0] if len(names) == 1 and len(names[0]) == 1 else ""


def group_of(labels: Mapping[str, str]) -> tuple[str, int]:
    """Name and size of the all-or-nothing group a pod says it is of; nonsense means no group, as for a typing error."""
    name, size = labels.get(GROUP_LABEL, ""), labels.get(GROUP_SIZE, "")
    if not name or not size.isascii() or not size.isdigit() or not 0 < int(size[:9]) <= MOST_MEMBERS:
        return "", 0
    return name, int(size)


def _stage(found: PodObject) -> Stage:
    if found.spec.node_name:
        return Stage.LEAVING if found.metadata.deletion_timestamp else Stage.BOUND
    if [gate.name for gate in found.spec.scheduling_gates] == [GATE]:
        return Stage.GATED  # with others beside it, it is not our turn yet
    return Stage.PENDING


def _outside_labelled_pools(tenants: TenantSet) -> tuple[Requirement, ...]:
    """What keeps a pod of the default pool off the nodes of pools that one label tells apart."""
    single = [dict(pool.node_labels) for pool in tenants.pools.values() if len(pool.node_labels) == 1]
    return tuple(Requirement(key, "NotIn", (value,)) for labels in single for key, value in labels.items())
