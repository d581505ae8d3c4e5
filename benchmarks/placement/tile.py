"""Large clusters made of copies of a trace's nodes and pods under new names, with tenants or without. Pure."""

from __future__ import annotations

import enum
import itertools
import random
from collections.abc import Mapping

import msgspec

from scheduler.model import Node, Pod, Shape
from scheduler.traces.workload import Cluster
from tenants.model import Isolation, Tenant, TenantSet, Trust

STRANGERS = 32
BLAST_RADIUS = 4


class Rules(enum.StrEnum):
    """Whose the pods are."""

    NONE = "none"  # nobody's: no tenant rules
    TENANTS = "tenants"  # the sample tenant files
    CROWD = "crowd"  # the untrusted pods of the sample belong to 32 tenants, four of which may meet on a node


def tiled_nodes(cluster: Cluster, count: int) -> list[Node]:
    """`count` nodes: the trace's over and over."""
    copies = enumerate(itertools.islice(itertools.cycle(cluster.nodes), count))
    return [msgspec.structs.replace(node, name=f"{node.name}-{number}") for number, node in copies]


def tiled_pods(cluster: Cluster, count: int, seed: int, owners: Mapping[str, list[str]]) -> list[Pod]:
    """`count` pods: the trace's over and over, shuffled; a tenant in `owners` is replaced by one of several at random.

    Equal shapes are one object, as a trace reader makes them.
    """
    generator = random.Random(seed)  # noqa: S311  # a reproducible draw, nothing secret
    shapes: dict[tuple[Shape, str], Shape] = {}
    pods = []
    for number, pod in enumerate(itertools.islice(itertools.cycle(cluster.pods), count)):
        tenant = pod.shape.tenant
        owner = generator.choice(owners[tenant]) if tenant in owners else tenant
        key = pod.shape, owner
        if key not in shapes:
            shapes[key] = msgspec.structs.replace(pod.shape, tenant=owner)
        pods.append(Pod(f"{pod.name}-{number}", shapes[key]))
    generator.shuffle(pods)
    return pods


def crowd(tenants: TenantSet) -> tuple[TenantSet, dict[str, list[str]]]:
    """Put 32 untrusted tenants in the place of each untrusted one, and tell who stands for whom."""
    replaced = {
        name: [f"{name}-{number}" for number in range(STRANGERS)]
        for name, tenant in tenants.tenants.items()
        if tenant.trust is Trust.UNTRUSTED
    }
    kept = {name: tenant for name, tenant in tenants.tenants.items() if name not in replaced}
    for name, copies in replaced.items():
        original = tenants.tenants[name]
        wish = msgspec.structs.replace(original.isolation, blast_radius=BLAST_RADIUS)
        kept |= {copy: stranger(original, copy, wish) for copy in copies}
    return msgspec.structs.replace(tenants, tenants=kept), replaced


def stranger(original: Tenant, name: str, isolation: Isolation) -> Tenant:
    """A tenant like another one, with a namespace of its own."""
    return msgspec.structs.replace(
        original, name=name, isolation=isolation, namespaces=(name,), namespace_prefixes=()
    )
