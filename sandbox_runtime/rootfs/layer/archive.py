"""An OCI layer archive becomes an erofs image without being unpacked: its names never meet the host's filesystem."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from sandbox_runtime import digests
from sandbox_runtime.rootfs.erofs.layout import XATTR_BODY_MAX, pack_xattrs, split_xattr
from sandbox_runtime.rootfs.erofs.tree import Node
from sandbox_runtime.rootfs.erofs.write import ImageWriter
from sandbox_runtime.rootfs.errors import DigestMismatch, LayerRefused
from sandbox_runtime.rootfs.layer.assemble import Below, LayerTree, nothing_below
from sandbox_runtime.rootfs.layer.limits import DEFAULT, LayerLimits
from sandbox_runtime.rootfs.layer.tar import Entry, entries

PIECE = 1 << 20
# Bytes of window that a zstd frame may ask for; the format allows frames that want gigabytes.
ZSTD_WINDOW_MIB = 128
_TYPES = {
    b"0": stat.S_IFREG, b"2": stat.S_IFLNK, b"3": stat.S_IFCHR, b"4": stat.S_IFBLK, b"5": stat.S_IFDIR,
    b"6": stat.S_IFIFO,
}  # fmt: skip
_TIME_MAX = (1 << 40) * 10**9  # nanoseconds; 35,000 years


def write_archive(
    archive: BinaryIO, fd: int, diff_id: str = "", below: Below = nothing_below, limits: LayerLimits = DEFAULT
) -> int:
    """Read a layer (plain, gzip or zstd) into an image on `fd`. Returns bytes of the image.

    Args:
        archive: at the first byte of the blob, a real file.
        fd: open for writing, empty.
        diff_id: `sha256:…` of the uncompressed archive; empty where nobody promised one.
        below: what the layers below have, for directories that this one leaves unstated.
        limits: beyond them the layer is refused.

    Raises:
        LayerRefused: hostile, malformed or beyond a limit.
        DigestMismatch: the content is not what `diff_id` names.
    """
    writer, tree = ImageWriter(fd), LayerTree(limits, below)
    with _uncompressed(archive) as raw:
        stream = _Stream(raw, limits.stream_bytes)
        for entry in entries(stream.read):
            _add(entry, tree, writer)
        stream.drain()
    if diff_id and stream.digest() != diff_id:
        raise DigestMismatch("layer content", diff_id, stream.digest())
    return writer.finish(tree.finish())


def _add(entry: Entry, tree: LayerTree, writer: ImageWriter) -> None:
    if tree.hide(entry.name):
        return
    if entry.kind == b"1":
        tree.link(entry.name, entry.link)
        return
    is_directory = entry.kind == b"5" or (entry.kind == b"0" and entry.name.endswith(b"/"))
    kind = stat.S_IFDIR if is_directory else _TYPES.get(entry.kind)
    if kind is None:
        raise LayerRefused("unknown-type", f"{entry.name[:200]!r} is of type {entry.kind!r}")
    if not 0 <= entry.uid < 1 << 32 or not 0 <= entry.gid < 1 << 32 or abs(entry.mtime_ns) > _TIME_MAX:
        raise LayerRefused("malformed", f"{entry.name[:200]!r} has an owner or a time beyond every range")
    node = Node(kind | entry.mode, entry.uid, entry.gid, entry.mtime_ns)
    node.xattrs = _xattrs(entry)
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        node.device = _device(entry)
    if kind == stat.S_IFLNK:
        writer.add_symlink(node, entry.link)
    tree.put(entry.name, node)
    if kind == stat.S_IFREG:
        writer.add_file(node, entry.size, entry.read)


def _device(entry: Entry) -> tuple[int, int]:
    major, minor = entry.device
    if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
        raise LayerRefused("malformed", f"device {major}:{minor} is beyond what Linux can number")
    return entry.device


def _xattrs(entry: Entry) -> dict[bytes, bytes]:
    """What an image may state. Not `trusted.*`: with those a stranger would steer the guest's overlayfs."""
    kept = {
        name: value
        for name, value in entry.xattrs.items()
        if split_xattr(name) and not name.startswith(b"trusted.") and len(name) <= 255 and len(value) <= 65535
    }
    if len(pack_xattrs(kept)) > XATTR_BODY_MAX:
        raise LayerRefused("too-much-metadata", f"attributes of {entry.name[:200]!r}")
    return kept


class _Stream:
    """The uncompressed bytes: counted, hashed, bounded."""

    def __init__(self, source: Callable[[int], bytes], limit: int) -> None:
        self._source = source
        self._left = limit
        self._hash = digests.sha256()

    def read(self, size: int) -> bytes:
        piece = self._source(size)
        self._left -= len(piece)
        if self._left < 0:
            raise LayerRefused("too-large", "the uncompressed layer is beyond its limit")
        self._hash.update(piece)
        return piece

    def drain(self) -> None:
        while self.read(PIECE):
            pass

    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()


@contextmanager
def _uncompressed(archive: BinaryIO) -> Iterator[Callable[[int], bytes]]:
    start = archive.tell()
    magic = archive.read(4)
    archive.seek(start)
    if magic[:2] == b"\x1f\x8b":
        yield _Buffered(_gunzip(archive)).read
    elif magic == b"\x28\xb5\x2f\xfd":
        with _zstd(archive) as read:
            yield read
    else:
        yield _Buffered(iter(lambda: archive.read(PIECE), b"")).read


@contextmanager
def _zstd(archive: BinaryIO) -> Iterator[Callable[[int], bytes]]:
    """Python 3.11 has no zstd of its own; the program gets the blob as its standard input and nothing else."""
    argv = ["zstd", "-dcq", f"--memory={ZSTD_WINDOW_MIB}MiB"]
    with (
        _whole_file(archive) as source,
        subprocess.Popen(argv, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process,
    ):
        try:
            yield cast(BinaryIO, process.stdout).read
        except BaseException:
            process.kill()
            raise
        if process.wait():
            raise LayerRefused("malformed", "the zstd stream is broken")


@contextmanager
def _whole_file(archive: BinaryIO) -> Iterator[BinaryIO]:
    """The blob as a file that ends where the blob ends; a part of an archive is copied to a nameless file."""
    try:
        os.lseek(
            archive.fileno(), archive.tell(), os.SEEK_SET
        )  # the program sees the file, not Python's buffer
        yield archive
    except io.UnsupportedOperation:
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(archive, copy, PIECE)
            copy.seek(0)
            yield cast(BinaryIO, copy)


class _Buffered:
    """Pieces of any size, read in the sizes that are asked for."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def read(self, size: int) -> bytes:
        if not self._piece:
            self._piece = memoryview(next(self._pieces, b""))
        taken, self._piece = self._piece[:size], self._piece[size:]
        return bytes(taken)


def _gunzip(archive: BinaryIO) -> Iterator[bytes]:
    """Members one after another, each piece bounded however well it was compressed."""
    inflate, begun, data = zlib.decompressobj(wbits=31), False, b""
    while True:
        data = data or archive.read(1 << 16)
        try:
            piece = inflate.decompress(data, PIECE)
        except zlib.error as error:
            raise LayerRefused("malformed", f"the gzip stream is broken: {error}") from None
        if piece:
            yield piece
        elif not data and not inflate.eof:
            break
        begun, data = begun or bool(data), inflate.unconsumed_tail
        if inflate.eof:
            data = inflate.unused_data.lstrip(b"\0")
            inflate, begun = zlib.decompressobj(wbits=31), False
    if begun:
        raise LayerRefused("truncated", "the gzip stream ends early")
