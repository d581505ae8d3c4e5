"""One thing that a change means for somebody, as a value. Pure.

The `*_effects` modules make them, `report` prints them.
"""

from __future__ import annotations

import enum

import msgspec

from tenants.model import DEFAULT_POOL, Dimension
from tenants.quantity import render


class Impact(enum.StrEnum):
    """What a reviewer should look at first; the order of declaration is the order of printing."""

    DISRUPTS = "disrupts"  # somebody loses what they have: a guarantee, an open flow, running pods
    WEAKENS = "weakens"  # a wall gets lower: a flow opens, a tenant becomes trusted
    CHANGES = "changes"


class Kind(enum.StrEnum):
    """What changes, for machines."""

    TENANT = "tenant"
    GROUP = "group"
    PARENT = "parent"
    GUARANTEE = "guarantee"
    MAX = "max"
    LEND = "lend"
    WEIGHT = "weight"
    RECLAIM = "reclaim"
    RECLAIMABLE = "reclaimable"
    OVER_MAX = "over-max"
    TRUST = "trust"
    RUNTIME = "runtime"
    RESTART = "restart"
    ISOLATION = "isolation"
    PRIORITY = "priority"
    NAMESPACE = "namespace"
    FLOW = "flow"
    ADMIN = "admin"
    POOL = "pool"
    NODE_CLASS = "node-class"
    RUNTIME_CLASS = "runtime-class"


class Effect(msgspec.Struct, frozen=True):
    """`subject` is the name of the tenant, group, pool or class that it is about."""

    impact: Impact
    kind: Kind
    subject: str
    text: str


_WORDS = {"nvidia.com/gpu": "GPU", "cpu": "CPU"}


def spell_amount(dimension: Dimension, value: int) -> str:
    """4 GPU, 64Gi memory, 2 CPU of bulkhead in pool a100."""
    word = _WORDS.get(dimension.resource, dimension.resource)
    of_class = f" on {dimension.runtime_class}" if dimension.runtime_class else ""
    in_pool = f" in pool {dimension.pool}" if dimension.pool != DEFAULT_POOL else ""
    return f"{render(dimension.resource, value)} {word}{of_class}{in_pool}"


def count(number: int, word: str) -> str:
    """1 pod, 3 pods."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
