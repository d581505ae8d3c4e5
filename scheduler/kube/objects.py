"""API objects as the API server writes them: the fields that are read, one struct per kind, nothing else decoded.

A watch line costs what is named here, so a field is added only with its reader. Times stay RFC 3339 text (they
compare as text, `convert.seconds_of` reads them), quantities stay text until `convert`.
"""

from __future__ import annotations

import msgspec

from scheduler.model import Taint, Toleration

Quantities = dict[str, str | int]


class Owner(msgspec.Struct, gc=False):
    """An owner reference; `controller` marks the one that makes the pods."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Metadata(msgspec.Struct, rename="camel", gc=False):
    """What is read of object metadata; a `deletion_timestamp` means that the object is going."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    owner_references: tuple[Owner, ...] = ()


class Resources(msgspec.Struct, gc=False):
    """Container resources; a missing request defaults to the limit, as the API server fills it in."""

    requests: Quantities = {}
    limits: Quantities = {}


class Container(msgspec.Struct, rename="camel", gc=False):
    """A container or init container; `restart_policy` Always marks a sidecar."""

    resources: Resources = msgspec.field(default_factory=Resources)
    restart_policy: str = ""


class Expression(msgspec.Struct, gc=False):
    """A selector requirement."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class Term(msgspec.Struct, rename="camel", gc=False):
    """A node selector term; matchFields selects by metadata.name."""

    match_expressions: tuple[Expression, ...] = ()
    match_fields: tuple[Expression, ...] = ()


class NodeSelector(msgspec.Struct, rename="camel", gc=False):
    """Terms of which one must hold."""

    node_selector_terms: tuple[Term, ...] = ()


class NodeAffinity(msgspec.Struct, gc=False):
    """Required node affinity."""

    required: NodeSelector | None = msgspec.field(
        default=None, name="requiredDuringSchedulingIgnoredDuringExecution"
    )


class Affinity(msgspec.Struct, rename="camel", gc=False):
    """The part of affinity that placement honours."""

    node_affinity: NodeAffinity | None = None


class Selector(msgspec.Struct, rename="camel", gc=False):
    """A label selector, whole."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[Expression, ...] = ()


class SpreadConstraint(msgspec.Struct, rename="camel", gc=False):
    """A topology spread constraint."""

    topology_key: str
    max_skew: int
    when_unsatisfiable: str = "DoNotSchedule"
    label_selector: Selector | None = None


class Gate(msgspec.Struct, gc=False):
    """A scheduling gate: kube-scheduler leaves the pod alone while one stands."""

    name: str


class SchedulingGroup(msgspec.Struct, rename="camel", gc=False):
    """The PodGroup that a pod belongs to."""

    pod_group_name: str = ""


class PodSpec(msgspec.Struct, rename="camel", gc=False):
    """What is read of a pod's spec; `resources` are the pod-level ones, `overhead` is what its RuntimeClass added."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    resources: Resources | None = None
    overhead: Quantities = {}
    node_name: str = ""
    node_selector: dict[str, str] = {}
    affinity: Affinity | None = None
    tolerations: tuple[Toleration, ...] = ()
    topology_spread_constraints: tuple[SpreadConstraint, ...] = ()
    runtime_class_name: str = ""
    scheduling_gates: tuple[Gate, ...] = ()
    scheduler_name: str = ""
    priority: int = 0
    scheduling_group: SchedulingGroup | None = None


class PodStatus(msgspec.Struct, rename="camel", gc=False):
    """What is read of a pod's status."""

    phase: str = ""
    qos_class: str = ""


class PodObject(msgspec.Struct, gc=False):
    """A v1 Pod; `raw` is the whole of a gated pod in protobuf, where it came so, to be written back."""

    metadata: Metadata
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)
    raw: bytes = b""

    @property
    def key(self) -> str:
        """namespace/name."""
        return f"{self.metadata.namespace}/{self.metadata.name}"


class NodeSpec(msgspec.Struct, gc=False):
    """What is read of a node's spec."""

    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False


class NodeStatus(msgspec.Struct, gc=False):
    """What is read of a node's status."""

    allocatable: Quantities = {}


class NodeObject(msgspec.Struct, gc=False):
    """A v1 Node."""

    metadata: Metadata
    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)


class NamespaceObject(msgspec.Struct, gc=False):
    """A v1 Namespace: its labels say whose it is."""

    metadata: Metadata


class Overhead(msgspec.Struct, rename="camel", gc=False):
    """What a pod of a RuntimeClass takes beside its requests."""

    pod_fixed: Quantities = {}


class RuntimeClassObject(msgspec.Struct, gc=False):
    """A node.k8s.io/v1 RuntimeClass."""

    metadata: Metadata
    handler: str = ""
    overhead: Overhead = msgspec.field(default_factory=Overhead)


class BudgetSpec(msgspec.Struct, gc=False):
    """Whose disruptions a budget counts; no selector selects nothing."""

    selector: Selector | None = None


class BudgetStatus(msgspec.Struct, rename="camel", gc=False):
    """What the disruption controller last worked out, and the evictions that it has not counted yet (by pod name)."""

    disruptions_allowed: int = 0
    observed_generation: int = 0
    disrupted_pods: dict[str, str] = {}


class BudgetObject(msgspec.Struct, gc=False):
    """A policy/v1 PodDisruptionBudget."""

    metadata: Metadata
    spec: BudgetSpec = msgspec.field(default_factory=BudgetSpec)
    status: BudgetStatus = msgspec.field(default_factory=BudgetStatus)


class LeaseSpec(msgspec.Struct, rename="camel", gc=False, omit_defaults=True):
    """Who leads, since when (RFC 3339 with microseconds) and for how long without a renewal."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class LeaseObject(msgspec.Struct, gc=False):
    """A coordination.k8s.io/v1 Lease."""

    metadata: Metadata
    spec: LeaseSpec = msgspec.field(default_factory=LeaseSpec)


class GangPolicy(msgspec.Struct, rename="camel", gc=False):
    """How many pods must start together."""

    min_count: int = 1


class GroupPolicy(msgspec.Struct, gc=False):
    """A group without a gang policy is one in name only."""

    gang: GangPolicy | None = None


class PodGroupSpec(msgspec.Struct, rename="camel", gc=False):
    """What is read of a PodGroup's spec."""

    scheduling_policy: GroupPolicy = msgspec.field(default_factory=GroupPolicy)


class PodGroupObject(msgspec.Struct, gc=False):
    """A scheduling.k8s.io PodGroup."""

    metadata: Metadata
    spec: PodGroupSpec = msgspec.field(default_factory=PodGroupSpec)


class ConfigMapObject(msgspec.Struct, gc=False):
    """A v1 ConfigMap."""

    metadata: Metadata
    data: dict[str, str] = {}


class StatusObject(msgspec.Struct, gc=False):
    """A v1 Status: how the API server refuses."""

    code: int = 0
    reason: str = ""
    message: str = ""
