"""The read-only half of a root filesystem: an image or a chain of snapshot directories -> files to attach.

What makes a layer is imported where one is made: a supervisor finds its layers in the cache, and is memory of every
sandbox.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.rootfs.cache import LayerCache
from sandbox_runtime.rootfs.erofs.read import ImageReader
from sandbox_runtime.rootfs.errors import LayerRefused
from sandbox_runtime.rootfs.image.files import Blob
from sandbox_runtime.rootfs.image.source import Image
from sandbox_runtime.rootfs.layer.limits import DEFAULT, LayerLimits
from sandbox_runtime.rootfs.record import FORMAT
from sandbox_runtime.rootfs.upper import RootOwner

Told = Callable[[str, int, int], None]  # (what is being built, number, of how many), for a progress display


class Lower(NamedTuple):
    """What is attached.

    Attributes:
        disks: uppermost first, each one or more files that are joined. One disk, but for layers that only
        overlayfs can merge. owner: of the container's `/`.
        built: layers that were made now; 0 where the cache had all.
    """

    disks: tuple[tuple[Path, ...], ...]
    owner: RootOwner
    built: int


class Identity(StrEnum):
    """What names a snapshot directory in the cache."""

    SNAPSHOT = "snapshot"  # the place and its inode: containerd never changes a committed snapshot
    TREE = "tree"  # the metadata of every file in it: for directories that nobody promised to leave alone


def silent(what: str, number: int, of: int) -> None:
    """Nobody wants to know."""


def of_image(
    cache: LayerCache, holder: str, image: Image, limits: LayerLimits = DEFAULT, told: Told = silent
) -> Lower:
    """The layers of an image, in `holder`'s name. Raises LayerRefused, DigestMismatch, DiskFull."""
    if image.directory is not None:
        return of_directories(cache, holder, [(image.directory, Identity.TREE)], limits, told)
    made: list[Path] = []
    chain, built = "", 0
    for number, (blob, diff_id) in enumerate(zip(image.layers, image.config.diff_ids, strict=True)):
        chain = _chain(chain, diff_id)
        told("layer", number + 1, len(image.layers))
        layer = cache.acquire(_key("layer", chain), holder, _archive(blob, diff_id, tuple(made), limits))
        made.append(layer.path)
        built += layer.built
    return _merged(cache, holder, chain, made, built)


def of_directories(
    cache: LayerCache,
    holder: str,
    directories: Sequence[tuple[Path, Identity]],
    limits: LayerLimits = DEFAULT,
    told: Told = silent,
) -> Lower:
    """Directories with whiteouts as overlayfs writes them, lowest first, each with what names it in the cache."""
    made: list[Path] = []
    chain, built = "", 0
    for number, (directory, identity) in enumerate(directories):
        told("layer", number + 1, len(directories))
        name = _identify(directory, identity)
        layer = cache.acquire(_key("directory", name), holder, _directory(directory, limits))
        chain = _chain(chain, name)
        made.append(layer.path)
        built += layer.built
    return _merged(cache, holder, chain, made, built)


def _archive(
    blob: Blob, diff_id: str, below: tuple[Path, ...], limits: LayerLimits
) -> Callable[[int], object]:
    def build(fd: int) -> int:
        from sandbox_runtime.rootfs.below import Below
        from sandbox_runtime.rootfs.layer.archive import write_archive

        with ExitStack() as stack:
            readers = [stack.enter_context(ImageReader(path)) for path in below]
            return write_archive(stack.enter_context(blob.open()), fd, diff_id, Below(readers), limits)

    return build


def _directory(directory: Path, limits: LayerLimits) -> Callable[[int], object]:
    def build(fd: int) -> int:
        from sandbox_runtime.rootfs.layer.directory import write_directory

        return write_directory(str(directory), fd, limits=limits)

    return build


def _merged(cache: LayerCache, holder: str, chain: str, layers: list[Path], built: int) -> Lower:
    with ImageReader(layers[-1]) as top:
        owner = RootOwner(stat.S_IMODE(top.root.mode), top.root.uid, top.root.gid)
    if len(layers) == 1:
        return Lower(((layers[0],),), owner, built)

    def build(fd: int) -> int:
        from sandbox_runtime.rootfs.erofs.merge import write_merged

        with ExitStack() as stack:
            return write_merged([stack.enter_context(ImageReader(path)) for path in layers], fd)

    try:
        metadata = cache.acquire(_key("merged", chain), holder, build)
    except LayerRefused as error:
        if error.code != "redirected":
            raise
        return Lower(tuple((path,) for path in reversed(layers)), owner, built)
    return Lower(((metadata.path, *layers),), owner, built)


def _chain(parent: str, digest: str) -> str:
    """ChainID of the OCI image specification, config.md."""
    return "sha256:" + hashlib.sha256(f"{parent} {digest}".encode()).hexdigest() if parent else digest


def _identify(directory: Path, identity: Identity) -> str:
    if identity is Identity.TREE:
        from sandbox_runtime.rootfs.layer.directory import fingerprint

        return f"sha256:{fingerprint(str(directory))}"
    found = os.lstat(directory)
    text = f"{directory}\0{found.st_dev}\0{found.st_ino}\0{found.st_ctime_ns}"
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _key(kind: str, digest: str) -> str:
    return f"{kind}-{FORMAT}-{digest.removeprefix('sha256:')}"
