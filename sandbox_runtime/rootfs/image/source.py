"""An image as its author packed it -> its configuration and its layers, digests checked on the way."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from sandbox_runtime.rootfs.errors import DigestMismatch, ImageRefused
from sandbox_runtime.rootfs.image.config import ImageConfig, as_object, parse_config, strings, typed
from sandbox_runtime.rootfs.image.files import ArchiveFiles, Blob, DirectoryFiles, Files, document

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_NAME = "org.opencontainers.image.ref.name"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class Image(NamedTuple):
    """An image that can be run.

    Attributes:
        layers: archives, lowest first; as many as `config.diff_ids`.
        directory: a root filesystem as it is, instead of layers.
    """

    config: ImageConfig
    layers: tuple[Blob, ...] = ()
    directory: Path | None = None


def open_image(path: Path, name: str = "") -> Image:
    """Find out what lies at `path` and read it.

    Args:
        path: OCI layout, oci-archive, docker-archive, or a directory that is a root filesystem.
        name: which image, where there are several: tag of the layout or archive.

    Raises:
        ImageRefused: nothing that can be read as an image, or ambiguous.
        DigestMismatch: a document is not the one that was named.
    """
    if path.is_dir():
        if (path / "oci-layout").is_file():
            return _oci(DirectoryFiles(path), name)
        return Image(ImageConfig(), directory=path)
    if not path.is_file():
        raise ImageRefused(f"{path}: neither a directory nor an archive")
    with path.open("rb") as file:
        magic = file.read(4)
    if magic[:2] == b"\x1f\x8b" or magic == b"\x28\xb5\x2f\xfd":
        raise ImageRefused(f"{path}: a compressed archive; uncompress it first (gunzip, unzstd)")
    files = ArchiveFiles(path)
    return _oci(files, name) if files.find("oci-layout") else _docker(files, name)


# --- OCI layout ---------------------------------------------------------------------------------------------


def _oci(files: Files, name: str) -> Image:
    index = as_object(document(files, "index.json"), "index.json")
    manifest = _manifest(files, _choose(index, name), depth=0)
    config = parse_config(_verified(files, typed(manifest.get("config"), dict, "config")))
    layers = tuple(
        _layer(files, typed(layer, dict, "layer")) for layer in typed(manifest.get("layers"), list, "layers")
    )
    return _checked(config, layers)


def _choose(index: dict[str, Any], name: str) -> dict[str, Any]:
    manifests = [
        typed(entry, dict, "manifest") for entry in typed(index.get("manifests") or [], list, "manifests")
    ]
    named = [entry for entry in manifests if not name or (entry.get("annotations") or {}).get(_NAME) == name]
    if len(named) != 1:
        names = ", ".join(sorted(str((entry.get("annotations") or {}).get(_NAME)) for entry in manifests))
        raise ImageRefused(
            f"{len(named)} images of the name {name!r} in the layout; there are: {names or 'none'}"
        )
    return named[0]


def _manifest(files: Files, descriptor: dict[str, Any], depth: int) -> dict[str, Any]:
    found = as_object(_verified(files, descriptor), "manifest")
    if descriptor.get("mediaType") not in _INDEXES and "layers" in found:
        return found
    machine = _MACHINES.get(os.uname().machine, os.uname().machine)
    for entry in typed(found.get("manifests") or [], list, "manifests"):
        platform = typed(entry, dict, "manifest").get("platform") or {}
        if platform.get("architecture") == machine and platform.get("os") == "linux" and depth < 3:
            return _manifest(files, entry, depth + 1)
    raise ImageRefused(f"no image for linux/{machine}")


def _verified(files: Files, descriptor: dict[str, Any]) -> bytes:
    digest = _digest(descriptor)
    content = document(files, _blob(digest))
    found = "sha256:" + hashlib.sha256(content).hexdigest()
    if found != digest:
        raise DigestMismatch("image document", digest, found)
    return content


def _layer(files: Files, descriptor: dict[str, Any]) -> Blob:
    digest = _digest(descriptor)
    blob = files.find(_blob(digest))
    if blob is None:
        raise ImageRefused(f"layer {digest}: not in the image")
    return blob


def _digest(descriptor: dict[str, Any]) -> str:
    digest = descriptor.get("digest")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ImageRefused(f"{str(digest)[:100]!r} is no sha256 digest")
    return digest


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


# --- docker archive -----------------------------------------------------------------------------------------


def _docker(files: Files, name: str) -> Image:
    try:
        listed = json.loads(document(files, "manifest.json"))
    except (ValueError, RecursionError):
        raise ImageRefused("manifest.json: no JSON") from None
    entries = [typed(entry, dict, "manifest.json") for entry in typed(listed, list, "manifest.json")]
    named = [entry for entry in entries if not name or name in strings(entry.get("RepoTags"), "RepoTags")]
    if len(named) != 1:
        raise ImageRefused(f"{len(named)} images of the name {name!r} in the archive")
    config = parse_config(document(files, typed(named[0].get("Config"), str, "Config")))
    layers = []
    for layer in strings(named[0].get("Layers"), "Layers"):
        blob = files.find(layer)
        if blob is None:
            raise ImageRefused(f"layer {layer[:200]}: not in the archive")
        layers.append(blob)
    return _checked(config, tuple(layers))


def _checked(config: ImageConfig, layers: tuple[Blob, ...]) -> Image:
    """The digests of the config are what the layers are held to when they are read."""
    if len(layers) != len(config.diff_ids) or not layers:
        raise ImageRefused(f"{len(layers)} layers, but {len(config.diff_ids)} digests of layers")
    if not all(_DIGEST.fullmatch(digest) for digest in config.diff_ids):
        raise ImageRefused("a layer whose digest is not sha256")
    return Image(config, layers)
