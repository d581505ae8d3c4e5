"""The API's protobuf messages, as far as they are read: field numbers from k8s.io/api and k8s.io/apimachinery 0.36.

A nested message that many objects share byte for byte (a toleration, a resource list, an owner) is declared as bytes,
which the wire does not tell apart; `protobuf` decodes each distinct one once. Numbers are part of the API and
never change their meaning.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Fields = dict[str, tuple[int, str]]  # name -> (number, type); a type that ends in * is repeated

_PACKAGE: Final = "bulkhead.kube"
_MESSAGES: Final[dict[str, _Fields]] = {
    "Envelope": {
        "type": (1, "TypeMeta"),
        "raw": (2, "bytes"),
    },  # runtime.Unknown, after the four bytes of MAGIC
    "TypeMeta": {"version": (1, "string"), "kind": (2, "string")},
    "Event": {"type": (1, "string"), "object": (2, "Extension")},
    "Extension": {"raw": (1, "bytes")},
    "List": {"metadata": (1, "ListMeta"), "items": (2, "bytes*")},
    "ListMeta": {"version": (2, "string"), "more": (3, "string")},
    "Status": {"message": (3, "string"), "reason": (4, "string"), "code": (6, "int32")},
    "Time": {"seconds": (1, "int64")},
    "Meta": {
        "name": (1, "string"),
        "namespace": (3, "string"),
        "uid": (5, "string"),
        "version": (6, "string"),
        "created": (8, "bytes"),
        "deleted": (9, "bytes"),
        "labels": (11, "bytes*"),
        "owners": (13, "bytes*"),
        "managed": (17, "bytes*"),
    },
    "Manager": {"operation": (2, "string")},  # ManagedFieldsEntry
    "Owner": {"kind": (1, "string"), "name": (3, "string"), "uid": (4, "string"), "controller": (6, "bool")},
    "Pair": {"key": (1, "string"), "value": (2, "string")},  # an entry of map<string, string>
    "Amount": {"key": (1, "string"), "value": (2, "Quantity")},  # an entry of map<string, Quantity>
    "Quantity": {"text": (1, "string")},
    "Binding": {"metadata": (1, "Meta"), "target": (2, "Target")},
    "Target": {"kind": (1, "string"), "name": (3, "string"), "version": (5, "string")},  # ObjectReference
    "Pod": {"metadata": (1, "Meta"), "spec": (2, "PodSpec"), "status": (3, "PodStatus")},
    "PodSpec": {
        "containers": (2, "bytes*"),
        "selector": (7, "bytes*"),
        "node": (10, "string"),
        "affinity": (18, "bytes"),
        "scheduler": (19, "string"),
        "init": (20, "bytes*"),
        "tolerations": (22, "bytes*"),
        "priority": (25, "int32"),
        "runtime": (29, "string"),
        "overhead": (32, "bytes*"),
        "spread": (33, "bytes*"),
        "gates": (38, "bytes*"),
        "resources": (40, "bytes"),
        "group": (43, "Gate"),  # PodSchedulingGroup, which is one name too
    },
    "Container": {"resources": (8, "bytes"), "restart": (24, "string")},
    "Resources": {"limits": (1, "bytes*"), "requests": (2, "bytes*")},
    "Gate": {"name": (1, "string")},
    "Affinity": {"node": (1, "NodeAffinity")},
    "NodeAffinity": {"required": (1, "NodeSelector")},
    "NodeSelector": {"terms": (1, "Term*")},
    "Term": {"expressions": (1, "Expression*"), "fields": (2, "Expression*")},
    "Expression": {"key": (1, "string"), "operator": (2, "string"), "values": (3, "string*")},
    "Toleration": {
        "key": (1, "string"),
        "operator": (2, "string"),
        "value": (3, "string"),
        "effect": (4, "string"),
    },
    "Spread": {
        "skew": (1, "int32"),
        "topology": (2, "string"),
        "unsatisfiable": (3, "string"),
        "selector": (4, "Selector"),
    },
    "Selector": {"labels": (1, "bytes*"), "expressions": (2, "Expression*")},
    "PodStatus": {
        "phase": (1, "string"),
        "qos": (9, "string"),
        "nominated": (11, "string"),
    },
    "Node": {"metadata": (1, "Meta"), "spec": (2, "NodeSpec"), "status": (3, "NodeStatus")},
    "NodeSpec": {"unschedulable": (4, "bool"), "taints": (5, "Taint*")},
    "Taint": {"key": (1, "string"), "value": (2, "string"), "effect": (3, "string")},
    "NodeStatus": {"allocatable": (2, "bytes*")},
}


def _build() -> dict[str, Any]:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="bulkhead/kube.proto", package=_PACKAGE, syntax="proto2")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, (number, type_) in fields.items():
            bare = type_.rstrip("*")
            field = described.field.add(name=name, number=number)
            field.label = kinds.LABEL_REPEATED if bare != type_ else kinds.LABEL_OPTIONAL
            if bare in _MESSAGES:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".{_PACKAGE}.{bare}"
            else:
                field.type = getattr(kinds, f"TYPE_{bare.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


messages: Final = _build()
"""Message classes by their name above."""
