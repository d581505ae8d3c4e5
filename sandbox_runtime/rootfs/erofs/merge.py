"""The layers of an image become one filesystem without copying their contents.

    [ merged metadata ][ layer 0 ][ layer 1 ] …      one disk, joined by the VMM from files that stay apart

The merged tree holds every inode that a container would see through an overlay of the layers, and its files point
to their blocks inside the layers. So the guest gets one disk and one mount instead of a hundred, and layers stay
shared between images. The rules are those of overlayfs: the upper one wins, directories join unless opaque,
whiteouts hide.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence

from sandbox_runtime.rootfs.erofs.layout import decode_device
from sandbox_runtime.rootfs.erofs.read import ImageReader, Inode
from sandbox_runtime.rootfs.erofs.tree import OPAQUE, Node
from sandbox_runtime.rootfs.erofs.write import ImageWriter
from sandbox_runtime.rootfs.errors import LayerRefused

_OVERLAY = b"trusted.overlay."
# A directory renamed, or a file whose data is elsewhere: only overlayfs itself can follow these.
_ELSEWHERE = (b"trusted.overlay.redirect", b"trusted.overlay.metacopy")


def write_merged(layers: Sequence[ImageReader], fd: int) -> int:
    """Write the metadata of `layers` (lowest first) merged. Returns its bytes; the layers follow it on the disk.

    Raises:
        LayerRefused: code `redirected`; such layers can only be stacked by overlayfs itself.
    """
    writer = ImageWriter(fd)
    merge = _Merge(layers, writer)
    return writer.finish(merge.root(), merge.blocks)


class _Merge:
    def __init__(self, layers: Sequence[ImageReader], writer: ImageWriter) -> None:
        self._layers = layers
        self._writer = writer
        self._made: dict[tuple[int, int], Node] = {}
        self._bases = []
        self.blocks = 0
        for layer in layers:
            self._bases.append(self.blocks)
            self.blocks += layer.super.blocks

    def root(self) -> Node:
        """The merged tree; its directories are those of `layers` from the top down."""
        stack = [(index, layer.root) for index, layer in reversed(list(enumerate(self._layers)))]
        root = self._node(*stack[0])
        pending = [(root, stack)]
        while pending:
            node, sources = pending.pop()
            pending += self._fill(node, sources)
        return root

    def _fill(
        self, node: Node, sources: list[tuple[int, Inode]]
    ) -> list[tuple[Node, list[tuple[int, Inode]]]]:
        """Everything in one directory. Returns the directories in it, each with the layers that have a part of it."""
        names: dict[bytes, list[tuple[int, Inode]]] = {}
        closed: set[bytes] = set()
        for index, directory in sources:
            for name, nid in self._layers[index].entries(directory):
                if name in closed:
                    continue
                inode = self._layers[index].inode(nid)
                if name not in names or stat.S_ISDIR(inode.mode):
                    names.setdefault(name, []).append((index, inode))
                if not stat.S_ISDIR(inode.mode) or is_opaque(inode):
                    closed.add(name)  # nothing below this one counts
            if is_opaque(directory):
                break
        return [found for name, found_in in names.items() for found in self._enter(node, name, found_in)]

    def _enter(
        self, parent: Node, name: bytes, found_in: list[tuple[int, Inode]]
    ) -> list[tuple[Node, list[tuple[int, Inode]]]]:
        if is_whiteout(found_in[0][1]):
            return []
        node = self._node(*found_in[0])
        (parent.entries if parent.entries is not None else {})[name] = node
        return [(node, found_in)] if node.entries is not None else []

    def _node(self, index: int, inode: Inode) -> Node:
        known = self._made.get((index, inode.nid))
        if known is not None:
            return known
        if any(name in inode.xattrs for name in _ELSEWHERE):
            raise LayerRefused("redirected", "a layer was written with redirect_dir or metacopy")
        node = Node(inode.mode, inode.uid, inode.gid, inode.mtime_ns)
        node.xattrs = {name: value for name, value in inode.xattrs.items() if not name.startswith(_OVERLAY)}
        if stat.S_ISREG(inode.mode):
            node.size = inode.size
            node.block = self._bases[index] + inode.where if inode.size else 0
        elif stat.S_ISLNK(inode.mode):
            self._writer.add_symlink(node, self._layers[index].content(inode))
        elif stat.S_ISCHR(inode.mode) or stat.S_ISBLK(inode.mode):
            node.device = decode_device(inode.where)
        if node.entries is None:
            self._made[index, inode.nid] = node
        return node


def is_whiteout(inode: Inode) -> bool:
    """A deletion, as overlayfs writes it."""
    return stat.S_ISCHR(inode.mode) and inode.where == 0


def is_opaque(inode: Inode) -> bool:
    """Hides the directory of the same name in every layer below."""
    return inode.xattrs.get(OPAQUE) == b"y"
