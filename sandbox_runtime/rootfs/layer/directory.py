"""A layer as the overlayfs snapshotter leaves it, a directory, becomes an erofs image.

Reads through descriptors of directories and never follows a symlink, so that a tree that changes underneath can give a
wrong image and never a file from elsewhere. Whiteouts (character device 0/0) and `trusted.overlay.*` are copied as
they are.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator

from sandbox_runtime.rootfs.erofs.layout import pack_xattrs, split_xattr
from sandbox_runtime.rootfs.erofs.tree import Node
from sandbox_runtime.rootfs.erofs.write import ImageWriter
from sandbox_runtime.rootfs.errors import LayerRefused
from sandbox_runtime.rootfs.layer.limits import DEFAULT, LayerLimits

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def write_directory(source: str, fd: int, limits: LayerLimits = DEFAULT) -> int:
    """Copy the tree below `source` into an image on `fd`. Returns bytes of the image.

    Raises:
        LayerRefused: beyond a limit, or it changed while it was read.
    """
    writer = ImageWriter(fd)
    return writer.finish(_Walk(writer, limits).root(source))


def fingerprint(source: str) -> str:
    """A digest over the metadata of every file, which any change of the tree changes. Reads no content."""
    digest = hashlib.sha256()
    for where, found, name in _metadata(source):
        digest.update(
            b"%s\0%s\0%d %d %d %d %d %d %d\0"
            % (
                where, name, found.st_mode, found.st_uid, found.st_gid, found.st_size, found.st_rdev, found.st_ino,
                found.st_ctime_ns,
            )
        )  # fmt: skip
    return digest.hexdigest()


def _metadata(source: str) -> Iterator[tuple[bytes, os.stat_result, bytes]]:
    yield b"", os.lstat(source), b""
    for where, directories, files, fd in os.fwalk(os.fsencode(source)):
        directories.sort()
        for name in sorted([*directories, *files]):
            yield (
                os.path.relpath(where, os.fsencode(source)),
                os.stat(name, dir_fd=fd, follow_symlinks=False),
                name,
            )


class _Walk:
    def __init__(self, writer: ImageWriter, limits: LayerLimits) -> None:
        self._writer = writer
        self._limits = limits
        self._entries = 0
        self._bytes = 0
        self._linked: dict[tuple[int, int], Node] = {}

    def root(self, source: str) -> Node:
        fd = os.open(source, _OPEN_DIRECTORY)
        try:
            node = _node(os.fstat(fd), b"/proc/self/fd/%d/." % fd)
            self._fill(node, fd, 1)
        finally:
            os.close(fd)
        return node

    def _fill(self, parent: Node, fd: int, depth: int) -> None:
        """Everything in the directory open as `fd`; one descriptor per level of depth."""
        if depth > self._limits.depth:
            raise LayerRefused("too-deep", f"more than {self._limits.depth} directories")
        entries = parent.entries = {}
        for name in sorted(os.listdir(fd)):
            raw = os.fsencode(name)
            self._entries += 1
            if self._entries > self._limits.entries:
                raise LayerRefused("too-many-entries", f"more than {self._limits.entries}")
            entries[raw] = self._read(fd, raw, depth)

    def _read(self, fd: int, name: bytes, depth: int) -> Node:
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        known = self._linked.get((found.st_dev, found.st_ino))
        if known is not None:
            return known
        node = _node(found, b"/proc/self/fd/%d/%s" % (fd, name))
        if stat.S_ISDIR(found.st_mode):
            self._descend(node, fd, name, found, depth)
        elif stat.S_ISREG(found.st_mode):
            self._copy(node, fd, name, found)
        elif stat.S_ISLNK(found.st_mode):
            self._writer.add_symlink(node, os.readlink(name, dir_fd=fd))
        if found.st_nlink > 1 and node.entries is None:
            self._linked[found.st_dev, found.st_ino] = node
        return node

    def _descend(self, node: Node, fd: int, name: bytes, found: os.stat_result, depth: int) -> None:
        inner = _same(os.open(name, _OPEN_DIRECTORY, dir_fd=fd), found)
        try:
            self._fill(node, inner, depth + 1)
        finally:
            os.close(inner)

    def _copy(self, node: Node, fd: int, name: bytes, found: os.stat_result) -> None:
        self._bytes += found.st_size
        if self._bytes > self._limits.stream_bytes:
            raise LayerRefused("too-large", f"more than {self._limits.stream_bytes} bytes of files")
        inner = _same(os.open(name, _OPEN_FILE, dir_fd=fd), found)
        try:
            self._writer.add_descriptor(node, found.st_size, inner)
        finally:
            os.close(inner)


def _same(fd: int, expected: os.stat_result) -> int:
    found = os.fstat(fd)
    if (found.st_dev, found.st_ino, stat.S_IFMT(found.st_mode)) != (
        expected.st_dev, expected.st_ino, stat.S_IFMT(expected.st_mode),
    ):  # fmt: skip
        os.close(fd)
        raise LayerRefused("changed", "a file of the layer was exchanged while it was read")
    return fd


def _node(found: os.stat_result, path: bytes) -> Node:
    node = Node(found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns)
    node.device = (os.major(found.st_rdev), os.minor(found.st_rdev))
    node.xattrs = _xattrs(path)
    return node


def _xattrs(path: bytes) -> dict[bytes, bytes]:
    """By path through /proc, which does not follow the last name: symlinks and devices cannot be opened."""
    try:
        names = [os.fsencode(name) for name in os.listxattr(path, follow_symlinks=False)]
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EPERM):
            return {}
        raise
    kept = {name: os.getxattr(path, name, follow_symlinks=False) for name in names if split_xattr(name)}
    pack_xattrs(kept)
    return kept
