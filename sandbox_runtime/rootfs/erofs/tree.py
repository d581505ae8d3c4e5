"""The tree of one layer while it is being read. Pure; nothing of it exists on the host's filesystem."""

from __future__ import annotations

import stat
from collections.abc import Iterator

OPAQUE = b"trusted.overlay.opaque"


class Node:
    """One inode of the layer.

    Attributes:
        mode: type and permission bits, as in stat(2).
        links: how many names it has; counted when the image is finished.
        size: bytes of a regular file, or of a symlink's target.
        block: where the file's whole blocks begin in the image, 0 if it has none.
        tail: the last partial block, where it is stored beside the inode.
        target: of a symlink.
        device: (major, minor) of a device node.
        entries: name -> node, for a directory.
    """

    __slots__ = (
        "block", "device", "entries", "gid", "links", "mode", "mtime_ns", "nid", "size", "tail", "target", "uid",
        "xattrs",
    )  # fmt: skip

    def __init__(self, mode: int, uid: int = 0, gid: int = 0, mtime_ns: int = 0) -> None:
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime_ns = mtime_ns
        self.links = 1
        self.size = 0
        self.block = 0
        self.tail = b""
        self.device = (0, 0)
        self.xattrs: dict[bytes, bytes] = {}
        self.entries: dict[bytes, Node] | None = {} if stat.S_ISDIR(mode) else None
        self.target = b""
        self.nid = 0

    @property
    def is_whiteout(self) -> bool:
        """Overlayfs reads a character device 0/0 as "deleted here"."""
        return stat.S_ISCHR(self.mode) and self.device == (0, 0)


def directory(permissions: int = 0o755) -> Node:
    """A directory that nobody has stated yet, owned by root."""
    return Node(stat.S_IFDIR | permissions)


def whiteout() -> Node:
    """Hides a name of the layers below."""
    return Node(stat.S_IFCHR)


def walk(root: Node) -> Iterator[tuple[bytes, Node]]:
    """(path, directory) of every directory: parents before children, names in byte order."""
    pending = [(b"", root)]
    while pending:
        path, node = pending.pop()
        yield path, node
        for name in sorted(node.entries or (), reverse=True):
            child = (node.entries or {})[name]
            if child.entries is not None:
                pending.append((path + b"/" + name, child))
