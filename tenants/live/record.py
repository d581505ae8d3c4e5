"""The tenant files as last applied, kept beside the objects, so that a plan can compare models. Pure.

Objects forget what was meant: guarantees, groups and weights are in none of them. So every apply ends by
writing the files' canonical text into one ConfigMap. It is read back by the loader that reads tenant files.
A ConfigMap holds 1 MiB; a text that comes near is kept compressed (about 50,000 tenants fit).
"""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from typing import Final

from tenants.adopt import documents
from tenants.files import load
from tenants.manifests.objects import make
from tenants.model import TenantSet
from tenants.plan.objects import Object, Ref, ref

NAME: Final = "bulkhead-tenant-files"
NAMESPACE: Final = "kube-system"  # always there, and no tenant has rights in it
_PLAIN, _PACKED = "tenants.yaml", "tenants.yaml.gz"
_LIMIT_BYTES: Final = 900_000


def record(tenants: TenantSet) -> Object:
    """The ConfigMap that remembers this model."""
    text = documents.text(documents.documents(tenants))
    if len(text.encode()) <= _LIMIT_BYTES:
        return make("v1", "ConfigMap", NAME, namespace=NAMESPACE, data={_PLAIN: text})
    packed = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
    return make("v1", "ConfigMap", NAME, namespace=NAMESPACE, binaryData={_PACKED: packed})


def recall(manifest: Object) -> TenantSet | None:
    """The model that it remembers; None if somebody made it unreadable."""
    text = (manifest.get("data") or {}).get(_PLAIN)
    packed = (manifest.get("binaryData") or {}).get(_PACKED)
    if text is None and packed is not None:
        try:
            text = gzip.decompress(base64.b64decode(packed, validate=True)).decode()
        except (OSError, EOFError, zlib.error, binascii.Error, UnicodeDecodeError):
            return None
    if not text:
        return TenantSet() if text == "" else None
    found = load.parse({NAME: text})
    return found if isinstance(found, TenantSet) else None


def place() -> Ref:
    """Where it is kept."""
    return ref(record(TenantSet()))
