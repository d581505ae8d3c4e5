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
# Tails of small files wait in memory until the inodes are written. Past this many bytes they get a block of their own.
TAILS_IN_MEMORY = 64 << 20
TAIL_MAX = 2048  # a longer tail would waste more around inodes than a block of its own
_ZEROS = bytes(CHUNK)
_FIRST_SLOT = 2  # inode number 0 is "no file" to readdir(3)


class ImageWriter:
    """One image under construction on an open, empty, writable descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._next = 1
        self._tails = 0

    # --- contents, in any order -----------------------------------------------------------------------------

    def add_file(self, node: Node, size: int, read: Callable[[int], bytes]) -> None:
        """Store `size` bytes that `read(at most n)` gives; a short source is an error of the layer."""
        tail = self._tail_size(size)
        node.size, node.block = size, self._next if size > tail else 0
        left = size - tail
        offset = self._next * BLOCK
        while left:
            piece = _exactly(read, min(left, CHUNK))
            if piece != _ZEROS[: len(piece)]:  # holes stay holes
                _write_at(self._fd, piece, offset)
            offset += len(piece)
            left -= len(piece)
        node.tail = _exactly(read, tail) if tail else b""
        self._advance(size - tail)

    def add_descriptor(self, node: Node, size: int, source: int) -> None:
        """Store a file of the host through its descriptor: the kernel copies, holes stay holes."""
        tail = self._tail_size(size)
        node.size, node.block = size, self._next if size > tail else 0
        base = self._next * BLOCK
        for start, end in _extents(source, size - tail):
            _copy(source, start, self._fd, base + start, end - start)
        node.tail = os.pread(source, tail, size - tail) if tail else b""
        if len(node.tail) != tail:
            raise LayerRefused("changed", "a file of the layer shrank while it was read")
        self._advance(size - tail)

    def add_symlink(self, node: Node, target: bytes) -> None:
        """A target too long to lie beside its inode gets a block, as a file would."""
        node.size, node.target = len(target), target
        if len(target) <= TAIL_MAX:
            node.tail = target
            return
        node.block = self._next
        _write_at(self._fd, target, self._next * BLOCK)
        self._advance(len(target))

    def _tail_size(self, size: int) -> int:
        tail = size % BLOCK
        if tail > TAIL_MAX or self._tails + tail > TAILS_IN_MEMORY:
            return 0
        self._tails += tail
        return tail

    def _advance(self, size: int) -> None:
        self._next += -(-size // BLOCK)
        if self._next >= MAX_BLOCKS:
            raise LayerRefused("too-large", "an image holds at most 16 TiB")

    # --- the end --------------------------------------------------------------------------------------------

    def finish(self, root: Node) -> int:
        """Number the inodes, write them, the directories and the superblock. Returns bytes of the image."""
        order, parents = _inodes(root)
        end = _number(order)
        directories = [node for node in order if node.entries is not None]
        for node in directories:
            self._place_directory(node, parents[id(node)])
        meta_block = self._next
        self._write_inodes(order, meta_block)
        self._advance(end * SLOT)
        os.ftruncate(self._fd, self._next * BLOCK)
        uuid = hashlib.sha256(b"%d %d %d" % (len(order), self._next, end)).digest()[:16]
        _write_at(self._fd, pack_super(Super(root.nid, len(order), self._next, meta_block, uuid)), 0)
        return self._next * BLOCK

    def _place_directory(self, node: Node, parent: Node) -> None:
        body = pack_directory(node, parent)
        whole = len(body) - len(node.tail)
        node.tail = body[whole:]
        node.block = self._next if whole else 0
        if whole:
            _write_at(self._fd, body[:whole], self._next * BLOCK)
            self._advance(whole)

    def _write_inodes(self, order: list[Node], meta_block: int) -> None:
        base = meta_block * BLOCK
        pending = bytearray()
        start = 0
        for node in order:
            at = node.nid * SLOT
            if len(pending) > CHUNK:
                _write_at(self._fd, bytes(pending), base + start)
                pending, start = bytearray(), at
            pending += bytes(at - start - len(pending))
            pending += _pack_inode(node)
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
    node.tail = bytes(sizes[-1]) if sizes[-1] <= TAIL_MAX else b""


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


def _pack_inode(node: Node) -> bytes:
    body = pack_xattrs(node.xattrs)
    layout = INLINE if node.tail else PLAIN
    where = encode_device(*node.device) if stat.S_ISCHR(node.mode) or stat.S_ISBLK(node.mode) else node.block
    links = (
        node.links if node.entries is None else 2 + sum(c.entries is not None for c in node.entries.values())
    )
    seconds, nanoseconds = divmod(node.mtime_ns, 1_000_000_000)
    return (
        INODE.pack(
            EXTENDED | layout << 1, xattr_count(body), node.mode, 0, node.size, where, node.nid & 0xFFFFFFFF,
            node.uid, node.gid, seconds & 0xFFFFFFFFFFFFFFFF, nanoseconds, links,
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


def _extents(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, end) of what is not a hole in the first `size` bytes."""
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole follows
            return
        if start >= size:
            return
        at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        yield start, at


def _copy(source: int, start: int, target: int, at: int, size: int) -> None:
    while size:
        done = os.copy_file_range(source, target, min(size, 1 << 30), start, at)
        if not done:
            raise LayerRefused("changed", "a file of the layer shrank while it was read")
        start, at, size = start + done, at + done, size - done
