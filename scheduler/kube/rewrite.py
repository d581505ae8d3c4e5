"""A gated pod as the watch brought it, written back with its gate open: cheaper than a patch. Pure.

Protobuf keeps what it does not know, so the object goes back as it came but for the gates, the affinity, and the two
parts that the server keeps by itself: the status, which this write cannot touch, and the managed fields.

Managed fields say which client wrote what, and cost the API server a third of each write to a pod: it takes the whole
object apart to compare it. They matter to whoever applies (server-side apply). An update whose one entry is empty drops
them, and from then on an object without any is not tracked until somebody applies it (structured merge,
`skipNonAppliedManager`): what stands then counts as "before-first-apply".
"""

from __future__ import annotations

from typing import Final

from scheduler.kube.readers import MAGIC
from scheduler.kube.wire import messages

PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
PROTOBUF_METADATA_ONLY: Final = f"{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_POD: Final = messages["Pod"].FromString
_GATE: Final = messages["Gate"].FromString
_MANAGER: Final = messages["Manager"].FromString
_NONE: Final = b""  # an entry that says nothing


def opened(raw: bytes, gate: str, node: str = "", *, untracked: bool = False) -> bytes | None:
    """The body of a PUT that removes the gate and, with a node, lets the pod stand on that one only.

    With `untracked` it also drops the managed fields of a pod that nobody has ever applied.

    Its resourceVersion is the one that the pod was read at: whoever changed it meanwhile wins (409). None where a merge
    patch has to say it, since the pod has an affinity of its own to keep.
    """
    pod = _POD(raw)
    if node and pod.spec.HasField("affinity"):
        return None
    gates = [found for found in pod.spec.gates if _GATE(found).name != gate]
    del pod.spec.gates[:]
    pod.spec.gates.extend(gates)
    if node:
        pod.spec.affinity = _on(node)
    applied = any(_MANAGER(entry).operation == "Apply" for entry in pod.metadata.managed)
    pod.metadata.managed[:] = [_NONE] if untracked and not applied else []
    pod.ClearField("status")
    return enveloped("v1", "Pod", pod.SerializeToString())


def nominated(raw: bytes, node: str) -> bytes:
    """The body of a PUT of the status that names the node; same version, so the pod is as it was decided about."""
    pod = _POD(raw)
    pod.status.nominated = node
    del pod.metadata.managed[:]
    return enveloped("v1", "Pod", pod.SerializeToString())


def binding(namespace: str, name: str, uid: str, node: str) -> bytes:
    """The body of a POST that stands this pod on this node."""
    found = messages["Binding"]()
    found.metadata.namespace, found.metadata.name, found.metadata.uid = namespace, name, uid
    found.target.version, found.target.kind, found.target.name = "v1", "Node", node
    return enveloped("v1", "Binding", found.SerializeToString())


def enveloped(version: str, kind: str, content: bytes) -> bytes:
    """An object as the API server reads it: runtime.Unknown behind four bytes."""
    envelope = messages["Envelope"](raw=content)
    envelope.type.version, envelope.type.kind = version, kind
    return MAGIC + bytes(envelope.SerializeToString())


def _on(node: str) -> bytes:
    affinity = messages["Affinity"]()
    field = affinity.node.required.terms.add().fields.add(key="metadata.name", operator="In")
    field.values.append(node)
    return bytes(affinity.SerializeToString())
