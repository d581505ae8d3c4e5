"""The fields of Node and Pod objects that placement reads, as the API server writes them. Decoded by `kubectl`."""

from __future__ import annotations

import msgspec

from scheduler.model import Taint, Toleration


class Owner(msgspec.Struct):
    """An owner reference."""

    kind: str = ""


class Metadata(msgspec.Struct, rename="camel"):
    """What is read of object metadata."""

    name: str
    namespace: str = ""
    labels: dict[str, str] = {}
    owner_references: list[Owner] = []


class Resources(msgspec.Struct):
    """Container resources; a missing request defaults to the limit, as the API server fills it in."""

    requests: dict[str, str | int] = {}
    limits: dict[str, str | int] = {}


class Container(msgspec.Struct, rename="camel"):
    """A container or init container; `restart_policy` Always marks a sidecar."""

    resources: Resources = msgspec.field(default_factory=Resources)
    restart_policy: str = ""


class Expression(msgspec.Struct):
    """A node selector requirement."""

    key: str
    operator: str
    values: list[str] = []


class Term(msgspec.Struct, rename="camel"):
    """A node selector term; matchFields selects by metadata.name."""

    match_expressions: list[Expression] = []
    match_fields: list[Expression] = []


class NodeSelector(msgspec.Struct, rename="camel"):
    """Terms of which one must hold."""

    node_selector_terms: list[Term] = []


class NodeAffinity(msgspec.Struct):
    """Required node affinity."""

    required: NodeSelector | None = msgspec.field(
        default=None, name="requiredDuringSchedulingIgnoredDuringExecution"
    )


class Affinity(msgspec.Struct, rename="camel"):
    """The part of affinity that placement honours."""

    node_affinity: NodeAffinity | None = None


class Selector(msgspec.Struct, rename="camel"):
    """A label selector, kept whole: it names a spread group."""

    match_labels: dict[str, str] = {}


class SpreadConstraint(msgspec.Struct, rename="camel"):
    """A topology spread constraint."""

    topology_key: str
    max_skew: int
    when_unsatisfiable: str = "DoNotSchedule"
    label_selector: Selector | None = None


class PodSpec(msgspec.Struct, rename="camel"):
    """What is read of a pod's or a node's spec."""

    containers: list[Container] = []
    init_containers: list[Container] = []
    node_name: str = ""
    node_selector: dict[str, str] = {}
    affinity: Affinity | None = None
    tolerations: list[Toleration] = []
    topology_spread_constraints: list[SpreadConstraint] = []
    runtime_class_name: str = ""
    taints: list[Taint] = []
    unschedulable: bool = False


class Status(msgspec.Struct, rename="camel"):
    """What is read of status."""

    allocatable: dict[str, str | int] = {}
    phase: str = ""
    qos_class: str = ""


class Item(msgspec.Struct):
    """A Node or a Pod; other kinds are skipped."""

    kind: str
    metadata: Metadata
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: Status = msgspec.field(default_factory=Status)


class Listing(msgspec.Struct):
    """A kubectl List."""

    items: list[Item]
