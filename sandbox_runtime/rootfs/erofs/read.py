"""Reads the metadata of an image: which attributes has this path, and what is in this directory.

Used where an upper layer mentions a path below a directory that it does not state, and by the check of a cached image.
Bounds are checked at every step: an image is only as trustworthy as the disk that it lay on.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from typing import NamedTuple

from sandbox_runtime.rootfs.erofs.layout import (
    BLOCK,
    COMPACT,
    DIRENT,
    EXTENDED,
    INLINE,
    INODE,
    SLOT,
    XATTR_ENTRY,
    XATTR_HEADER,
    XATTR_PREFIXES,
    unpack_super,
)  # fmt: skip
from sandbox_runtime.rootfs.errors import LayerCorrupt


class Inode(NamedTuple):
    """Attributes of one file, and where its data is.

    Attributes:
        where: block of the data, or the encoded device number.
        inline_at: byte of the image where the last partial block stands; 0 where there is none.
    """

    nid: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    links: int
    where: int
    inline_at: int
    xattrs: dict[bytes, bytes]


class ImageReader:
    """An image, open for reading. Close it, or use it in a `with`."""

    def __init__(self, path: os.PathLike[str] | str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        found = unpack_super(os.pread(self._fd, BLOCK, 0).ljust(BLOCK, b"\0"))
        if found is None:
            self.close()
            raise LayerCorrupt(f"{os.fspath(path)}: no erofs image, or a damaged one")
        self.super = found

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)

    @property
    def root(self) -> Inode:
        """The inode of `/`."""
        return self.inode(self.super.root)

    def inode(self, nid: int) -> Inode:
        """The inode of that number; compact inodes (made by mkfs.erofs) are read as well."""
        at = self.super.meta_block * BLOCK + nid * SLOT
        raw = self._bytes(at, INODE.size)
        form = int.from_bytes(raw[:2], "little")
        if form & 1 == EXTENDED:
            _, count, mode, _, size, where, _, uid, gid, seconds, nanoseconds, links = INODE.unpack(raw)
            head = INODE.size
        else:
            _, count, mode, links, size, _, where, _, uid, gid = COMPACT.unpack(raw[: COMPACT.size])
            seconds, nanoseconds, head = 0, 0, COMPACT.size
        body = XATTR_HEADER.size + (count - 1) * 4 if count else 0
        inline = at + head + body if form >> 1 & 7 == INLINE else 0
        xattrs = _xattrs(self._bytes(at + head, body)) if count else {}
        mtime = seconds * 1_000_000_000 + nanoseconds
        return Inode(nid, mode, uid, gid, mtime, size, links, where, inline, xattrs)

    def entries(self, directory: Inode) -> Iterator[tuple[bytes, int]]:
        """(name, inode number) of everything in a directory but `.` and `..`, in byte order."""
        for start in range(0, directory.size, BLOCK):
            block = self.data(directory, start, min(BLOCK, directory.size - start))
            yield from ((name, nid) for name, nid in _dirents(block) if name not in (b".", b".."))

    def lookup(self, path: bytes) -> Inode | None:
        """The inode of a path below the root; symlinks are not followed."""
        node = self.root
        for name in filter(None, path.split(b"/")):
            if not stat.S_ISDIR(node.mode):
                return None
            nid = dict(self.entries(node)).get(name)
            if nid is None:
                return None
            node = self.inode(nid)
        return node

    def content(self, node: Inode) -> bytes:
        """The whole content of a small file or symlink."""
        return b"".join(self.data(node, at, min(BLOCK, node.size - at)) for at in range(0, node.size, BLOCK))

    def data(self, node: Inode, offset: int, size: int) -> bytes:
        """Bytes of a file's content within one block."""
        if node.inline_at and offset >= node.size - node.size % BLOCK:
            return self._bytes(node.inline_at + offset % BLOCK, size)
        return self._bytes(node.where * BLOCK + offset, size)

    def _bytes(self, at: int, size: int) -> bytes:
        found = os.pread(self._fd, size, at)
        if len(found) != size:
            raise LayerCorrupt(f"image ends at {at + len(found)}, where {at + size} was expected")
        return found


def _dirents(block: bytes) -> Iterator[tuple[bytes, int]]:
    try:
        count = DIRENT.unpack_from(block)[1] // DIRENT.size
        heads = [DIRENT.unpack_from(block, index * DIRENT.size) for index in range(count)]
    except struct.error:
        raise LayerCorrupt("a directory block ends inside its table") from None
    for index, (nid, offset, _) in enumerate(heads):
        end = heads[index + 1][1] if index + 1 < count else len(block)
        yield block[offset:end].rstrip(b"\0"), nid


def _xattrs(body: bytes) -> dict[bytes, bytes]:
    prefixes = dict(XATTR_PREFIXES)
    found = {}
    at = XATTR_HEADER.size + 4 * body[4]
    while at + XATTR_ENTRY.size <= len(body):
        name_size, index, value_size = XATTR_ENTRY.unpack_from(body, at)
        at += XATTR_ENTRY.size
        name = prefixes.get(index, b"") + body[at : at + name_size]
        found[name] = body[at + name_size : at + name_size + value_size]
        at += -(-(name_size + value_size) // 4) * 4
    return found
