"""What can happen to a cluster: the only ways in which its state changes. Made by watches, replays and tests."""

from __future__ import annotations

import msgspec

from scheduler.model import Node, Placed, Shape


class NodeJoined(msgspec.Struct, frozen=True):
    """A node became part of the cluster, or an empty node reported new facts."""

    node: Node


class NodeLeft(msgspec.Struct, frozen=True):
    """An empty node left the cluster."""

    name: str


class PodLeft(msgspec.Struct, frozen=True):
    """A pod ended or was deleted; what it held is free again."""

    uid: str


class PodPlaced(msgspec.Struct, frozen=True):
    """A pod stands on a node, by our decision or by another's."""

    shape: Shape
    placed: Placed


Event = NodeJoined | NodeLeft | PodPlaced | PodLeft
