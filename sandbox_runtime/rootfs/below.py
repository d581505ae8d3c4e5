"""What the layers below have at a path, for an archive that adds files to directories which it does not state."""

from __future__ import annotations

import stat
from collections.abc import Sequence

from sandbox_runtime.rootfs.erofs.merge import is_opaque, is_whiteout
from sandbox_runtime.rootfs.erofs.read import ImageReader, Inode
from sandbox_runtime.rootfs.erofs.tree import Node


class Below:
    """The union of layers, asked one path at a time; most archives never ask."""

    def __init__(self, layers: Sequence[ImageReader]) -> None:
        """`layers`: lowest first."""
        self._layers = tuple(reversed(layers))

    def __call__(self, path: bytes) -> Node | None:
        """A fresh node with the attributes of a directory or symlink there; None for anything else."""
        for layer in self._layers:
            found, hides = _search(layer, path)
            if found is not None:
                return _node(layer, found)
            if hides:
                return None
        return None


def _search(layer: ImageReader, path: bytes) -> tuple[Inode | None, bool]:
    """(what this layer has there, whether it hides what lies below it)."""
    inode, hides = layer.root, False
    for name in filter(None, path.split(b"/")):
        if not stat.S_ISDIR(inode.mode):
            return None, True
        hides = hides or is_opaque(inode)
        nid = dict(layer.entries(inode)).get(name)
        if nid is None:
            return None, hides
        inode = layer.inode(nid)
        if is_whiteout(inode):
            return None, True
    return inode, True


def _node(layer: ImageReader, inode: Inode) -> Node | None:
    if not stat.S_ISDIR(inode.mode) and not stat.S_ISLNK(inode.mode):
        return None
    node = Node(inode.mode, inode.uid, inode.gid, inode.mtime_ns)
    node.xattrs = {
        name: value for name, value in inode.xattrs.items() if not name.startswith(b"trusted.overlay.")
    }
    if stat.S_ISLNK(inode.mode):
        node.target = layer.content(inode)
    return node
