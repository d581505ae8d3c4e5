"""The lines of an event file as values; JSON tells them apart by `event`. Written by `events`."""

from __future__ import annotations

from typing import Any

import msgspec

from scheduler.model import Blocker, Shape


class RunLine(msgspec.Struct, tag_field="event", tag="run"):
    """The setting of the decisions that follow."""

    schema: int
    policy: str
    seed: int
    load: float | None


class NodeLine(msgspec.Struct, tag_field="event", tag="node"):
    """A node with the rules that the tenant files state for it."""

    name: str
    allocatable: dict[str, int]
    gpus: int
    gpu_model: str
    labels: dict[str, str]
    taints: list[Any]
    unschedulable: bool
    sandboxes: bool
    blast_radius: int | None


class TenantLine(msgspec.Struct, tag_field="event", tag="tenant"):
    """A tenant's isolation."""

    name: str
    trust: str
    runtime: str
    co_residency: str
    never_with: list[str]
    blast_radius: int | None


class RuntimeClassLine(msgspec.Struct, tag_field="event", tag="runtime_class"):
    """A runtime class and what it costs."""

    name: str
    handler: str
    overhead: dict[str, int]


class StandingLine(msgspec.Struct, tag_field="event", tag="standing", omit_defaults=True):
    """A pod that stands on its node from the start by another's decision: a DaemonSet's, a static one."""

    pod: str
    shape: Shape
    node: str
    devices: tuple[int, ...] = ()
    sandboxed: bool | None = None
    overhead: dict[str, int] = {}


class PlacedLine(msgspec.Struct, tag_field="event", tag="placed", omit_defaults=True):
    """A pod, what it asked, and where it stands. `sandboxed` is None for a pod of no tenant."""

    seq: int
    pod: str
    shape: Shape
    node: str
    devices: tuple[int, ...] = ()
    sandboxed: bool | None = None
    overhead: dict[str, int] = {}


class RefusedLine(msgspec.Struct, tag_field="event", tag="refused", omit_defaults=True):
    """A pod that no node could take, and why."""

    seq: int
    pod: str
    shape: Shape
    reason: str
    blockers: tuple[Blocker, ...] = ()
    detail: str = ""
    sandboxed: bool | None = None
    overhead: dict[str, int] = {}
