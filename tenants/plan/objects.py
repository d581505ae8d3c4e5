"""Kubernetes objects as plain mappings: their names, and what is left of one without the server's own notes.

Pure. Used by everything that compares or moves objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

Object = dict[str, Any]
_NOTES: Final = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink")


class Ref(msgspec.Struct, frozen=True, order=True):
    """Which object; `namespace` is empty for those of the whole cluster."""

    kind: str
    namespace: str
    name: str
    api_version: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def ref(manifest: Mapping[str, Any]) -> Ref:
    """The name of a manifest that has one."""
    meta = manifest["metadata"]
    return Ref(manifest["kind"], meta.get("namespace", ""), meta["name"], manifest["apiVersion"])


def is_object(document: object) -> bool:
    """Whether a YAML document is a Kubernetes object with a name."""
    if not isinstance(document, dict):
        return False
    meta = document.get("metadata")
    named = isinstance(meta, dict) and isinstance(meta.get("name"), str)
    return named and isinstance(document.get("kind"), str) and isinstance(document.get("apiVersion"), str)


def stated(manifest: Mapping[str, Any]) -> Object:
    """What somebody wrote: without status and without what the server notes in metadata."""
    meta = {key: value for key, value in manifest["metadata"].items() if key not in _NOTES}
    return {key: value for key, value in manifest.items() if key != "status"} | {"metadata": meta}


def labels(manifest: Mapping[str, Any]) -> Mapping[str, str]:
    """Its labels, if any."""
    found: Mapping[str, str] = manifest["metadata"].get("labels") or {}
    return found
