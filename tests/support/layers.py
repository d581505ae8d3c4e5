"""Layers for tests: archives written byte by byte, trees on disk, and one description of either to compare."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sandbox_runtime.rootfs.erofs.layout import decode_device
from sandbox_runtime.rootfs.erofs.read import ImageReader, Inode
from sandbox_runtime.rootfs.layer.archive import write_archive
from sandbox_runtime.rootfs.layer.assemble import Below, nothing_below
from sandbox_runtime.rootfs.layer.limits import DEFAULT, LayerLimits


class Seen(NamedTuple):
    """All of a file that a container could notice."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    links: int
    device: tuple[int, int]
    content: bytes
    xattrs: dict[bytes, bytes]


def member(
    name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", **fields: Any
) -> tuple[tarfile.TarInfo, bytes]:
    """One member of an archive; `fields` are attributes of TarInfo."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def archive(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of these members, in this order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def build(
    directory: Path,
    layer: bytes,
    below: Below = nothing_below,
    limits: LayerLimits = DEFAULT,
    diff_id: str = "",
) -> Path:
    """The image of an archive."""
    blob, image = directory / "layer.tar", directory / "layer.erofs"
    blob.write_bytes(layer)
    with blob.open("rb") as source, image.open("w+b") as target:
        write_archive(source, target.fileno(), diff_id, below, limits)
    return image


def describe_image(path: Path) -> dict[bytes, Seen]:
    """Path -> what is seen there, by our own reader."""
    with ImageReader(path) as image:
        return dict(_walk_image(image, b"", image.root))


def _walk_image(image: ImageReader, path: bytes, inode: Inode) -> Iterator[tuple[bytes, Seen]]:
    special = stat.S_ISCHR(inode.mode) or stat.S_ISBLK(inode.mode)
    plain = stat.S_ISREG(inode.mode) or stat.S_ISLNK(inode.mode)
    content = b"".join(
        image.data(inode, at, min(4096, inode.size - at)) for at in range(0, inode.size if plain else 0, 4096)
    )
    links = 0 if stat.S_ISDIR(inode.mode) else inode.links
    yield (
        path,
        Seen(
            inode.mode, inode.uid, inode.gid, inode.mtime_ns, links,
            decode_device(inode.where) if special else (0, 0), _short(content), inode.xattrs,
        ),
    )  # fmt: skip
    if stat.S_ISDIR(inode.mode):
        for name, nid in image.entries(inode):
            yield from _walk_image(image, path + b"/" + name, image.inode(nid))


def describe_directory(root: Path) -> dict[bytes, Seen]:
    """The same of a tree on a mounted filesystem."""
    top = os.fsencode(root)
    paths = [top]
    for where, directories, files in os.walk(top):
        paths += [where + b"/" + name for name in [*directories, *files]]
    return {path[len(top) :]: _see(path) for path in paths}


def _see(path: bytes) -> Seen:
    found = os.lstat(path)
    content = b""
    if stat.S_ISREG(found.st_mode):
        content = Path(os.fsdecode(path)).read_bytes()
    elif stat.S_ISLNK(found.st_mode):
        content = os.readlink(path)  # noqa: PTH115 - Path would tidy the target
    names = [os.fsencode(name) for name in os.listxattr(path, follow_symlinks=False)]
    return Seen(
        found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns,
        0 if stat.S_ISDIR(found.st_mode) else found.st_nlink,
        (os.major(found.st_rdev), os.minor(found.st_rdev)), _short(content),
        {name: os.getxattr(path, name, follow_symlinks=False) for name in names},
    )  # fmt: skip


def _short(content: bytes) -> bytes:
    return content if len(content) < 100 else hashlib.sha256(content).digest()


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    """The image on a loop device, read-only."""
    at.mkdir(exist_ok=True)
    subprocess.run(
        ["mount", "-t", "erofs", "-o", "loop,ro", str(image), str(at)], check=True, capture_output=True
    )
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)
