"""The extender's JSON: what kube-scheduler sends, what it reads, and which HTTP status an error becomes. Pure.

Source: k8s.io/kube-scheduler/extender/v1/types.go. Its structs carry no JSON tags, so Go writes the field names as they
are: capitalised, nothing left out, nil as null. Go reads keys in any case; so does this module, but the usual
spelling is tried first, because it is the fast way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from scheduler.extender.errors import BadBody, UnusableTls
from scheduler.kube.objects import PodObject

Body = TypeVar("Body", bound=msgspec.Struct)

STATUS: Mapping[type[Exception], int] = {BadBody: 400, UnusableTls: 503}
"""The status of an error that a handler raises; whatever is not named here is a fault of ours, and a 500."""

TOP_SCORE = 10
"""MaxExtenderPriority; kube-scheduler multiplies a score by the extender's weight and by ten."""

NAMES_ONLY = (
    "this extender needs nodeCacheCapable: true in the KubeSchedulerConfiguration: with false, kube-scheduler scores "
    "nodes that it has rebuilt without their pods, so that each of them looks empty"
)


class Present(msgspec.Struct, gc=False):
    """Some object, whose content is skipped."""


class ExtenderArgs(msgspec.Struct, rename="pascal", gc=False):
    """The body of filter and prioritize; `nodes` is filled only by a scheduler without `nodeCacheCapable`."""

    pod: PodObject | UnsetType = UNSET
    nodes: Present | UnsetType | None = UNSET
    node_names: list[str] | UnsetType | None = UNSET


class FilterResult(msgspec.Struct, rename="pascal", gc=False, frozen=True):
    """The answer to filter. `error` fails the attempt and becomes the message of the pod's event."""

    nodes: None = None
    node_names: list[str] | None = None
    failed_nodes: dict[str, str] | None = None
    failed_and_unresolvable_nodes: dict[str, str] | None = None
    error: str = ""


class HostPriority(msgspec.Struct, rename="pascal", gc=False, frozen=True):
    """The score of one host, 0 to `TOP_SCORE`."""

    host: str
    score: int


Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class MetaPod(msgspec.Struct, gc=False, frozen=True, forbid_unknown_fields=True):
    """A victim by its UID."""

    uid: str = msgspec.field(name="UID")


class MetaVictims(msgspec.Struct, gc=False, frozen=True, forbid_unknown_fields=True):
    """The victims of one node; null and an empty list both mean none."""

    pods: list[MetaPod] | None = msgspec.field(name="Pods", default=None)
    violations: Int64 = msgspec.field(name="NumPDBViolations", default=0)


class FullVictims(msgspec.Struct, gc=False, frozen=True, forbid_unknown_fields=True):
    """The victims of one node as whole pods, from a scheduler without `nodeCacheCapable`."""

    pods: list[PodObject] | None = msgspec.field(name="Pods", default=None)
    violations: Int64 = msgspec.field(name="NumPDBViolations", default=0)


class PreemptionArgs(msgspec.Struct, rename="pascal", gc=False):
    """The body of preempt: one of the two maps is null."""

    pod: PodObject | UnsetType = UNSET
    node_name_to_victims: dict[str, FullVictims | None] | UnsetType | None = UNSET
    node_name_to_meta_victims: dict[str, MetaVictims | None] | UnsetType | None = UNSET


class PreemptionResult(msgspec.Struct, rename="pascal", gc=False, frozen=True):
    """The answer to preempt, in this form whatever the question's was."""

    node_name_to_meta_victims: dict[str, MetaVictims]


class BindingArgs(msgspec.Struct, gc=False):
    """The body of bind: which pod is to go to which node."""

    name: str | UnsetType = msgspec.field(name="PodName", default=UNSET)
    namespace: str | UnsetType = msgspec.field(name="PodNamespace", default=UNSET)
    uid: str | UnsetType = msgspec.field(name="PodUID", default=UNSET)
    node: str | UnsetType = msgspec.field(name="Node", default=UNSET)


class BindingResult(msgspec.Struct, rename="pascal", gc=False, frozen=True):
    """The answer to bind; an empty `error` means bound."""

    error: str = ""


CANONICAL: Mapping[str, str] = {
    name.lower(): name
    for name in (
        *("Pod", "Nodes", "NodeNames", "NodeNameToVictims", "NodeNameToMetaVictims"),
        *("PodName", "PodNamespace", "PodUID", "Node", "Pods", "UID", "NumPDBViolations"),
    )
}
VICTIM_MAPS = ("NodeNameToVictims", "NodeNameToMetaVictims")

_members: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_encoder = msgspec.json.Encoder()


class Reader(Generic[Body]):
    """Reads bodies of one verb; `needed` are the attributes that must be there and not null."""

    def __init__(self, type_: type[Body], *needed: str) -> None:
        self._decoder = msgspec.json.Decoder(type_)
        self._fields = [field.name for field in msgspec.structs.fields(type_)]
        self._needed = needed

    def read(self, body: bytes) -> Body:
        """Decode a body.

        Raises:
            BadBody: it is not JSON, too deep, or not what the verb takes; the message quotes no content of it.
        """
        try:
            found = self._read_folded(body) if (usual := self._read_usual(body)) is None else usual
        except RecursionError as error:
            raise BadBody("nested too deeply") from error
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise BadBody(str(error)) from error
        for name in self._needed:
            if getattr(found, name) in (UNSET, None):
                raise BadBody(f"{found.__struct_encode_fields__[self._fields.index(name)]} is missing")
        return found

    def _read_usual(self, body: bytes) -> Body | None:
        """Decode keys spelled as Go spells them; None where a key is absent or of another spelling."""
        try:
            found = self._decoder.decode(body)
        except msgspec.ValidationError:
            return None
        return None if any(getattr(found, name) is UNSET for name in self._fields) else found

    def _read_folded(self, body: bytes) -> Body:
        return self._decoder.decode(_encoder.encode(fold(body)))


def fold(body: bytes) -> dict[str, Any]:
    """The members of a body under their canonical names; unknown ones are left out, the last of equals counts."""
    folded: dict[str, Any] = {}
    for key, value in _members.decode(body).items():
        name = CANONICAL.get(key.lower())
        if name in VICTIM_MAPS:
            folded[name] = fold_victims(value)
        elif name is not None:
            folded[name] = value
    return folded


def fold_victims(value: Raw) -> dict[str, Any] | None:
    """A victim map under canonical names down to the UIDs; the pods of a full map are left as they are."""
    nodes = msgspec.json.decode(value, type=dict[str, dict[str, Any] | None] | None)
    return nodes and {name: fold_keys(victims) for name, victims in nodes.items()}


def fold_keys(value: Any) -> Any:
    """Canonical names in an object and in the objects of its lists."""
    if isinstance(value, list):
        return [fold_keys(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "metadata" in value:
        return value
    known = {CANONICAL.get(key.lower()): item for key, item in value.items()}
    return {name: fold_keys(item) for name, item in known.items() if name is not None}


filter_args = Reader(ExtenderArgs, "pod")
preemption_args = Reader(PreemptionArgs, "pod")
binding_args = Reader(BindingArgs, "name", "namespace", "uid", "node")


def written(answer: msgspec.Struct | list[HostPriority]) -> bytes:
    """An answer as the bytes that Go reads."""
    return _encoder.encode(answer)


def scores(best_first: Iterable[str]) -> list[HostPriority]:
    """10 for the best host, 9 for the next, …; a host that is not named has 0, as kube-scheduler reads it."""
    return [
        HostPriority(host, score) for host, score in zip(best_first, range(TOP_SCORE, 0, -1), strict=False)
    ]
