"""In which order objects are written and removed, so that no moment leaves an untrusted tenant unprotected. Pure.

`manifests.apply_order` puts walls first: admission policies, then namespaces, then what fences them, and only
then the rights that let somebody in. Admission starts no pod in a namespace before it is marked ready, so a
namespace that is not ready yet is written twice: bare, and with the mark when its fences stand. Removal runs
the other way round, after every write: a right goes before the fence, the fence before the wall.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Final

from tenants.manifests.objects import READY_LABEL, apply_order
from tenants.plan.objects import Object, Ref, ref

KINDS: Final = {
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "TenantTable": "bulkhead.dev/v1",
    "RuntimeClass": "node.k8s.io/v1",
    "PriorityClass": "scheduling.k8s.io/v1",
    "MutatingAdmissionPolicy": "admissionregistration.k8s.io/v1",
    "MutatingAdmissionPolicyBinding": "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy": "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding": "admissionregistration.k8s.io/v1",
    "Namespace": "v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "ResourceQuota": "v1",
    "LimitRange": "v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "ConfigMap": "v1",
}


def to_write(objects: Iterable[Object], ready: Container[Ref]) -> list[Object]:
    """The writes of one run; `ready` are the namespaces that carry the mark already."""
    first: list[Object] = []
    last: list[Object] = []
    for manifest in sorted(objects, key=_key):
        late = manifest["kind"] == "Namespace" and ref(manifest) not in ready
        first.append(_without_mark(manifest) if late else manifest)
        last += [manifest] if late and READY_LABEL in manifest["metadata"]["labels"] else []
    return first + last


def to_remove(refs: Iterable[Ref]) -> list[Ref]:
    """Rights first, walls last."""
    return sorted(refs, key=lambda one: _key(_named(one)), reverse=True)


def _without_mark(manifest: Object) -> Object:
    meta = manifest["metadata"]
    labels = {key: value for key, value in meta["labels"].items() if key != READY_LABEL}
    return {**manifest, "metadata": {**meta, "labels": labels}}


def _key(manifest: Object) -> tuple[int, str, str]:
    """A ConfigMap is rendered no more; one that an older version left goes last."""
    if manifest["kind"] == "ConfigMap":
        return -1, manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]
    return apply_order(manifest)


def _named(one: Ref) -> Object:
    return {"kind": one.kind, "metadata": {"namespace": one.namespace, "name": one.name}}
