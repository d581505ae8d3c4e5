"""A kubectl listing, in which nodes and pods stand mixed. Decoded by `kubectl`."""

from __future__ import annotations

import msgspec

from scheduler.kube.objects import (
    Metadata,
    NodeObject,
    NodeSpec,
    NodeStatus,
    PodObject,
    PodSpec,
    PodStatus,
    Quantities,
)
from scheduler.model import Taint


class ItemSpec(PodSpec, rename="camel", gc=False):
    """The spec of either kind."""

    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False


class ItemStatus(PodStatus, rename="camel", gc=False):
    """The status of either kind."""

    allocatable: Quantities = msgspec.field(default_factory=dict)


class Item(msgspec.Struct, gc=False):
    """A Node or a Pod; other kinds are skipped."""

    kind: str
    metadata: Metadata
    spec: ItemSpec = msgspec.field(default_factory=ItemSpec)
    status: ItemStatus = msgspec.field(default_factory=ItemStatus)

    def node(self) -> NodeObject:
        """The item read as a node."""
        return NodeObject(
            self.metadata,
            NodeSpec(self.spec.taints, self.spec.unschedulable),
            NodeStatus(self.status.allocatable),
        )

    def pod(self) -> PodObject:
        """The item read as a pod."""
        return PodObject(self.metadata, self.spec, self.status)


class Listing(msgspec.Struct):
    """A kubectl List."""

    items: tuple[Item, ...]
