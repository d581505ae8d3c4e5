"""The shape of every document kind: fields, defaults, and the sentence that the JSON Schema shows. Pure.

`decode` checks documents against these; `build` turns them into the model; `schema` prints them. A field that
is not listed here is refused: a misspelt limit must never be silently no limit.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from tenants.files import fields
from tenants.files.problem import Kind
from tenants.files.scalars import refusal
from tenants.model import Cores, CoResidency, Runtime, Trust

API_VERSION: Final = "bulkhead.dev/v1"
PEER_WORDS: Final = ("tenant", "namespace", "cidr")


class Strict(BaseModel):
    """Base of every part of a tenant file: camelCase keys, no unknown field, no guessing of types."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True, strict=True)


class AllowanceFile(Strict):
    """A share of one resource. A bare amount means {guaranteed: amount, max: amount}."""

    guaranteed: fields.Written = Field("0", description="Comes back by reclaim whenever it was lent.")
    max: fields.WrittenLimit = Field("unlimited", description="Ends borrowing; unlimited = whatever is idle.")
    lend: fields.WrittenLimit = Field(
        "unlimited", description="How much of the guarantee others may use meanwhile."
    )
    weight: fields.Weight | None = Field(
        None, description="Share among borrowers; the document's weight if absent."
    )


def _allowance(value: Any) -> Any:
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return {"guaranteed": value, "max": value}
    if isinstance(value, dict):
        return value
    raise refusal(Kind.WRONG_TYPE, "an amount such as 64 or {guaranteed: 64, max: 96} is needed")


Amounts = dict[
    fields.ResourceName,
    Annotated[
        AllowanceFile, BeforeValidator(_allowance, json_schema_input_type=AllowanceFile | fields.Written)
    ],
]
QuotaByPool = dict[str, Amounts]
QuotaByPoolAndClass = dict[str, dict[str, Amounts]]


class IsolationFile(Strict):
    """The wall around the tenant's pods, and whom they accept as neighbours."""

    runtime: fields.RuntimeWord = Field(
        Runtime.AUTO, description="auto = a sandbox if untrusted, else what a pod asks."
    )
    co_residency: fields.CoResidencyWord = Field(CoResidency.SHARED, description="Who else may be on a node.")
    cores: fields.CoresWord = Field(Cores.NONE, description="Hardware shared with no other tenant.")
    never_with: list[fields.Name] = Field([], description="Tenants that never share a node with this one.")
    blast_radius: fields.AtLeastOne | None = Field(
        None, description="How many untrusted tenants a node that holds this one may hold."
    )


class PortFile(Strict):
    """A port, a named container port, or the range port..endPort."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["endPort"], "properties": {"endPort": {"type": "integer"}}},
            "then": {"required": ["port"], "properties": {"port": {"type": "integer"}}},
        }
    )
    protocol: Literal["TCP", "UDP", "SCTP"] = Field("TCP", description="Transport protocol.")
    port: fields.PortNumberOrName | None = Field(None, description="Absent = every port of the protocol.")
    end_port: fields.EndPort | None = Field(None, description="Last port of the range.")


def _port(value: Any) -> Any:
    return {"port": value} if isinstance(value, (str, int)) and not isinstance(value, bool) else value


class PeerFile(Strict):
    """The other end of an allowed flow: one of tenant, namespace, cidr."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [word], "properties": {word: {"type": "string"}}} for word in PEER_WORDS],
            "dependentRequired": {"except": ["cidr"]},
        }
    )
    tenant: fields.Name | None = Field(None, description="Every namespace of this tenant.")
    namespace: fields.Name | None = Field(None, description="One namespace, by name.")
    cidr: fields.Cidr | None = Field(None, description="Addresses outside the cluster.")
    except_: list[fields.Cidr] = Field([], alias="except", description="Parts of the cidr that stay closed.")
    ports: list[
        Annotated[PortFile, BeforeValidator(_port, json_schema_input_type=PortFile | fields.PortNumberOrName)]
    ] = Field([], description="Absent = every port.")


class NetworkFile(Strict):
    """Who may talk to the tenant and to whom it may talk.

    The metadata address is closed whatever this says.
    """

    isolate: fields.Flag = Field(default=True, description="Only what is listed here may pass.")
    dns: fields.Flag = Field(default=True, description="Port 53 of the cluster's DNS stays open.")
    allow_from: list[PeerFile] = Field([], description="Who may open connections to the tenant's pods.")
    allow_to: list[PeerFile] = Field([], description="Where the tenant's pods may open connections to.")


class AdminFile(Strict):
    """An RBAC subject that administers the tenant's namespaces."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"kind": {"const": "ServiceAccount"}}},
            "then": {"required": ["namespace"]},
        }
    )
    kind: Literal["User", "Group", "ServiceAccount"] = Field(description="Kind of the RBAC subject.")
    name: fields.Text = Field(description="Its name as the API server sees it.")
    namespace: fields.Name | None = Field(None, description="Of a ServiceAccount.")

    @model_validator(mode="after")
    def _has_a_namespace(self) -> Self:
        if self.kind == "ServiceAccount" and self.namespace is None:
            raise refusal(Kind.MISSING_FIELD, "a ServiceAccount needs its namespace")
        return self


class TreeFile(Strict):
    """What Tenant and TenantGroup have in common: a place in the tree and a share."""

    api_version: Literal["bulkhead.dev/v1"] = Field(description="Always bulkhead.dev/v1.")
    name: fields.Name = Field(description="Unique among tenants and groups.")
    parent: fields.Name | None = Field(None, description="The TenantGroup above; absent = the root.")
    quota: QuotaByPool = Field(
        {}, description="pool -> resource -> amount or {guaranteed, max, lend, weight}."
    )
    runtime_quota: QuotaByPoolAndClass = Field({}, description="pool -> RuntimeClass -> resource -> amount.")
    weight: fields.Weight = Field(1, description="Share among borrowers, unless a resource says otherwise.")
    fence: fields.Flag = Field(default=False, description="Preemption by members stays inside.")


class TenantFile(TreeFile):
    """A tenant: who runs pods.

    Only apiVersion, kind, name and a quota are needed; the rest defaults to safe.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"not": {"required": ["trust"], "properties": {"trust": {"const": "trusted"}}}},
            "then": {"properties": {"isolation": {"properties": {"runtime": {"not": {"const": "runc"}}}}}},
        }
    )
    kind: Literal["Tenant"] = Field(description="Tenant.")
    trust: fields.TrustWord = Field(
        Trust.UNTRUSTED, description="untrusted = its code never meets the host kernel."
    )
    isolation: IsolationFile = Field(IsolationFile(), description="The wall and the neighbours.")
    namespaces: list[fields.NamespacePattern] | None = Field(
        None, description="Names, or prefixes such as team-a-*; absent = one namespace named like the tenant."
    )
    reclaim: fields.Flag = Field(
        default=True, description="Take the guarantee back from borrowers when needed."
    )
    priority_ceiling: fields.Priority | None = Field(
        None, description="Highest priority of its pods; absent = 0 if untrusted, else 1000000000."
    )
    network: NetworkFile = Field(NetworkFile(), description="Default: isolated, DNS open.")
    admins: list[AdminFile] = Field([], description="Who administers its namespaces.")


class GroupFile(TreeFile):
    """An inner node of the tree: its guarantee includes those of its members."""

    kind: Literal["TenantGroup"] = Field(description="TenantGroup.")


class PoolFile(Strict):
    """A kind of node that quota is stated for."""

    api_version: Literal["bulkhead.dev/v1"] = Field(description="Always bulkhead.dev/v1.")
    kind: Literal["Pool"] = Field(description="Pool.")
    name: fields.Name = Field(description="Named by the quota of tenants.")
    node_labels: dict[fields.LabelKey, fields.LabelValue] = Field({}, description="Labels of its nodes.")
    allocatable: dict[fields.ResourceName, fields.Written] = Field(
        {}, description="What its nodes offer in all, if known."
    )


class NodeClassFile(Strict):
    """What nodes with these labels can do."""

    api_version: Literal["bulkhead.dev/v1"] = Field(description="Always bulkhead.dev/v1.")
    kind: Literal["NodeClass"] = Field(description="NodeClass.")
    name: fields.Name = Field(description="The class named default holds for all other nodes.")
    node_labels: dict[fields.LabelKey, fields.LabelValue] = Field({}, description="Labels of its nodes.")
    handlers: list[fields.Name] = Field(["runc", "bulkhead"], description="Runtimes it offers.")
    blast_radius: fields.AtLeastOne | None = Field(None, description="Untrusted tenants that one may hold.")


class _Foreign(BaseModel):
    """Part of an object that Kubernetes defines: what is not read here is none of our business."""

    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, frozen=True, strict=True)


class MetadataFile(_Foreign):
    """Of a Kubernetes object."""

    name: fields.Subdomain


class OverheadFile(_Foreign):
    """What each pod of the class costs beside its requests."""

    pod_fixed: dict[str, fields.Written] = {}


class TolerationFile(_Foreign):
    """A taint that pods of the class accept."""

    key: fields.Text | None = None
    operator: Literal["Exists", "Equal"] | None = None
    value: fields.Text | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None


class SchedulingFile(_Foreign):
    """Which nodes have the handler."""

    node_selector: dict[fields.LabelKey, fields.LabelValue] = {}
    tolerations: list[TolerationFile] = []


class RuntimeClassFile(_Foreign):
    """A node.k8s.io/v1 RuntimeClass, as kubectl takes it."""

    api_version: Literal["node.k8s.io/v1"]
    kind: Literal["RuntimeClass"]
    metadata: MetadataFile
    handler: fields.Name
    overhead: OverheadFile = OverheadFile()
    scheduling: SchedulingFile = SchedulingFile()


AnyFile = TenantFile | GroupFile | PoolFile | NodeClassFile | RuntimeClassFile
KINDS: Final[dict[str, type[AnyFile]]] = {
    "Tenant": TenantFile,
    "TenantGroup": GroupFile,
    "Pool": PoolFile,
    "NodeClass": NodeClassFile,
    "RuntimeClass": RuntimeClassFile,
}
PARTS: Final[dict[str, type[BaseModel]]] = {
    "quota": AllowanceFile,
    "runtimeQuota": AllowanceFile,
    "isolation": IsolationFile,
    "admins": AdminFile,
    "ports": PortFile,
    "allowFrom": PeerFile,
    "allowTo": PeerFile,
    "network": NetworkFile,
}
