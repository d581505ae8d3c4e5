"""A gated pod as the watch brought it, written back with its gate open; less work for the API server than a patch. Pure.

Protobuf keeps what it does not know, so the object goes back as it came but for the gates, the affinity, and the two parts
that the server keeps by itself: the status, which this write cannot touch, and the managed fields, which it works out anew.
"""

from __future__ import annotations

from typing import Final

from scheduler.kube.readers import MAGIC
from scheduler.kube.wire import messages

PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
_POD: Final = messages["Pod"].FromString
_GATE: Final = messages["Gate"].FromString


def opened(raw: bytes, gate: str, node: str = "") -> bytes | None:
    """The body of a PUT that removes the gate and, with a node, lets the pod stand on that one only.

    Its resourceVersion is the one that the pod was read at: whoever changed it meanwhile wins (409). None where a merge patch
    has to say it, since the pod has an affinity of its own to keep.
    """
    pod = _POD(raw)
    if node and pod.spec.HasField("affinity"):
        return None
    gates = [found for found in pod.spec.gates if _GATE(found).name != gate]
    del pod.spec.gates[:]
    pod.spec.gates.extend(gates)
    if node:
        pod.spec.affinity = _on(node)
    del pod.metadata.managed[:]
    pod.ClearField("status")
    return enveloped("v1", "Pod", pod.SerializeToString())


def nominated(raw: bytes, node: str) -> bytes:
    """The body of a PUT of the status that names the node; same version, so the pod is as it was decided about."""
    pod = _POD(raw)
    pod.status.nominated = node
    del pod.metadata.managed[:]
    return enveloped("v1", "Pod", pod.SerializeToString())


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
