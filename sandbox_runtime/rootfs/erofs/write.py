"""Writes an image in one pass over the layer: file contents first, as they come; inodes and directories behind them.

    block 0        superblock, written last
    1 …            whole blocks of regular files
    …              whole blocks of large directories
    meta_block …   inodes, each with its attributes and the last partial block of its data

Uncompressed on purpose: building costs one copy, and the guest's pages are the host's page cache of one file that
every sandbox shares.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator

from sandbox_runtime.rootfs import ranges
from sandbox_runtime.rootfs.erofs.layout import (
    BLOCK,
    DIRENT,
    EXTENDED,
    INLINE,
    INODE,
    MAX_BLOCKS,
    PLAIN,
    SLOT,
    Super,
    encode_device,
    pack_super,
    pack_xattrs,
    xattr_count,
)  # fmt: skip
from sandbox_runtime.rootfs.erofs.tree import Node, walk
from sandbox_runtime.rootfs.errors import LayerRefused

CHUNK = 1 << 20
# What lies beside its inode: small directories and symlinks. Contents of files never do, so that the metadata of many
# layers can be merged while their contents stay where they are (`merge`).
INLINE_MAX = 2048
_ZEROS = bytes(CHUNK)
_FIRST_SLOT = 2  # inode number 0 is "no file" to readdir(3)


class ImageWriter:
    """One image under construction on an open, empty, writable descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._next = 1

    # --- contents, in any order -----------------------------------------------------------------------------

    def add_file(self, node: Node, size: int, read: Callable[[int], bytes]) -> None:
        """Store `size` bytes that `read(at most n)` gives; a short source is an error of the layer."""
        offset = self._begin(node, size)
        while size:
            piece = _exactly(read, min(size, CHUNK))
            if piece != _ZEROS[: len(piece)]:  # holes stay holes
                _write_at(self._fd, piece, offset)
            offset += len(piece)
            size -= len(piece)

    def add_descriptor(self, node: Node, size: int, source: int) -> None:
        """Store a file of the host through its descriptor: the kernel copies, holes stay holes."""
        base = self._begin(node, size)
        for start, end in ranges.data(source, size):
            if ranges.copy(source, start, self._fd, base + start, end - start) != end - start:
                raise LayerRefused("changed", "a file of the layer shrank while it was read")

    def add_symlink(self, node: Node, target: bytes) -> None:
        """A target too long to lie beside its inode gets a block, as a file would."""
        node.size, node.target = len(target), target
        if len(target) <= INLINE_MAX:
            node.tail = target
        else:
            _write_at(self._fd, target, self._begin(node, len(target)))

    def _begin(self, node: Node, size: int) -> int:
        """Give a file its blocks. Returns the byte where they begin."""
        node.size, node.block = size, self._next if size else 0
        at = self._next * BLOCK
        self._advance(size)
        return at

    def _advance(self, size: int) -> None:
        self._next += -(-size // BLOCK)
        if self._next >= MAX_BLOCKS:
            raise LayerRefused("too-large", "an image holds at most 16 TiB")

    # --- the end --------------------------------------------------------------------------------------------

    def finish(self, root: Node, appended: int = 0) -> int:
        """Number the inodes, write them, the directories and the superblock. Returns bytes of the image.

        Args:
            root: the tree.
            appended: blocks that will follow this image on the same disk and hold the contents of all files; their
                `block` then counts from there.
        """
        order, parents = _inodes(root)
        slots = _number(order)
        for node in order:
            if node.entries is not None:
                self._place_directory(node, parents[id(node)])
        meta_block = self._next
        self._advance(slots * SLOT)
        self._write_inodes(order, meta_block, self._next if appended else 0)
        os.ftruncate(self._fd, self._next * BLOCK)
        uuid = hashlib.sha256(b"%d %d %d" % (len(order), self._next, slots)).digest()[:16]
        described = Super(root.nid, len(order), self._next + appended, meta_block, uuid)
        _write_at(self._fd, pack_super(described), 0)
        return self._next * BLOCK

    def _place_directory(self, node: Node, parent: Node) -> None:
        body = pack_directory(node, parent)
        whole = len(body) - len(node.tail)
        node.tail = body[whole:]
        node.block = self._next if whole else 0
        if whole:
            _write_at(self._fd, body[:whole], self._next * BLOCK)
            self._advance(whole)

    def _write_inodes(self, order: list[Node], meta_block: int, shift: int) -> None:
        base = meta_block * BLOCK
        pending = bytearray()
        start = 0
        for node in order:
            at = node.nid * SLOT
            if len(pending) > CHUNK:
                _write_at(self._fd, bytes(pending), base + start)
                pending, start = bytearray(), at
            pending += bytes(at - start - len(pending))
            pending += _pack_inode(node, shift if stat.S_ISREG(node.mode) and node.block else 0)
        _write_at(self._fd, bytes(pending), base + start)


def _inodes(root: Node) -> tuple[list[Node], dict[int, Node]]:
    """Every inode once, root first, and the parent of each directory."""
    order: list[Node] = []
    parents = {id(root): root}
    seen: set[int] = set()
    for _, node in walk(root):
        order.append(node)
        for name in sorted(node.entries or ()):
            child = (node.entries or {})[name]
            if child.entries is not None:
                parents[id(child)] = node
            elif id(child) in seen:
                child.links += 1
            else:
                seen.add(id(child))
                child.links = 1
                order.append(child)
    return order, parents


def _number(order: list[Node]) -> int:
    """Give every inode its slot. Returns the first slot after the last.

    An inode does not cross a block, and neither does data that follows it (the kernel refuses that as corrupt).
    """
    slot = _FIRST_SLOT
    for node in order:
        if node.entries is not None:
            _measure_directory(node)
        head = INODE.size + len(pack_xattrs(node.xattrs))
        at = slot * SLOT
        if at % BLOCK + INODE.size > BLOCK or (at + head) % BLOCK + len(node.tail) > BLOCK:
            at = -(-at // BLOCK) * BLOCK
            while (at + head) % BLOCK + len(node.tail) > BLOCK:
                at += SLOT
        node.nid = at // SLOT
        slot = -(-(at + head + len(node.tail)) // SLOT)
    return slot


def _measure_directory(node: Node) -> None:
    sizes = [sum(DIRENT.size + len(name) for name in names) for names in _directory_blocks(node)]
    node.size = (len(sizes) - 1) * BLOCK + sizes[-1]
    # Only the length counts here: the contents need the numbers that are being given out.
    node.tail = bytes(sizes[-1]) if sizes[-1] <= INLINE_MAX else b""


def _directory_blocks(node: Node) -> Iterator[list[bytes]]:
    """Names in byte order (the kernel searches by halves), cut where a block is full."""
    names: list[bytes] = []
    used = 0
    for name in sorted([b".", b"..", *(node.entries or ())]):
        need = DIRENT.size + len(name)
        if used + need > BLOCK:
            yield names
            names, used = [], 0
        names.append(name)
        used += need
    yield names


def pack_directory(node: Node, parent: Node) -> bytes:
    """The contents of a directory; every block but the last is filled with zeros to its end."""
    special = {b".": node, b"..": parent}
    body = bytearray()
    for names in _directory_blocks(node):
        body += bytes(-len(body) % BLOCK)
        offset = DIRENT.size * len(names)
        for name in names:
            child = special.get(name) or (node.entries or {})[name]
            body += DIRENT.pack(child.nid, offset, _file_type(child.mode))
            offset += len(name)
        body += b"".join(names)
    return bytes(body)


_TYPES = {
    stat.S_IFREG: 1, stat.S_IFDIR: 2, stat.S_IFCHR: 3, stat.S_IFBLK: 4, stat.S_IFIFO: 5, stat.S_IFSOCK: 6,
    stat.S_IFLNK: 7,
}  # fmt: skip


def _file_type(mode: int) -> int:
    return _TYPES[stat.S_IFMT(mode)]


def _pack_inode(node: Node, shift: int) -> bytes:
    body = pack_xattrs(node.xattrs)
    layout = INLINE if node.tail else PLAIN
    where = (
        encode_device(*node.device)
        if stat.S_ISCHR(node.mode) or stat.S_ISBLK(node.mode)
        else node.block + shift
    )
    links = (
        node.links if node.entries is None else 2 + sum(c.entries is not None for c in node.entries.values())
    )
    seconds, nanoseconds = divmod(node.mtime_ns, 1_000_000_000)
    return (
        INODE.pack(
            EXTENDED | layout << 1, xattr_count(body), node.mode, 0, node.size, where, node.nid & 0xFFFFFFFF,
            node.uid, node.gid, seconds, nanoseconds, links,
        )
        + body
        + node.tail
    )  # fmt: skip


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    pieces = []
    while size:
        piece = read(size)
        if not piece:
            raise LayerRefused("truncated", "the layer ends inside a file")
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces) if len(pieces) != 1 else pieces[0]


def _write_at(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view = view[done:]
        offset += done
