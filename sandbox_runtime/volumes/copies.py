"""Reads a directory of small files as one consistent whole: a ConfigMap, a Secret, a projected volume, or any other.

kubelet keeps such a volume as links: `key -> ..data/key`, `..data -> ..2026_11_26…`, and changes all keys at once
by renaming a new `..data` into place. So where there is a `..data`, it is opened once and everything is read below
that descriptor.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.errors import StorageFailed
from sandbox_runtime.volumes.beneath import open_beneath

DATA = "..data"
TOTAL_MAX = 64 << 20  # bytes of one volume; Kubernetes itself stops at 1 MiB for each object in it
ENTRIES_MAX = 100_000
ATTEMPTS = 5
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RECORD = 512


class File(NamedTuple):
    """One file or directory; `path` is relative, a directory has no content."""

    path: bytes
    mode: int
    content: bytes | None


class Snapshot(NamedTuple):
    """All of a volume at one moment. `digest` tells whether anything a container could see has changed."""

    files: tuple[File, ...]
    digest: str

    def archive(self) -> Iterator[bytes]:
        """The files as a tar stream (pax), for the guest to unpack. Owners are for the guest to set."""
        for file in self.files:
            yield _header(file)
            if file.content:
                yield file.content + bytes(-len(file.content) % _RECORD)
        yield bytes(2 * _RECORD)


def read(source: Path) -> Snapshot:
    """The volume as it is now, from one version of it.

    Raises:
        StorageFailed: too large, a link that leads out, or it changed at every attempt.
    """
    for _ in range(ATTEMPTS):
        before = _version(source)
        try:
            files = _read(source)
        except FileNotFoundError:
            continue  # the version that was being read has been removed: the next one is there
        if _version(source) == before:
            return Snapshot(files, _digest(files))
    raise StorageFailed(f"{source} changed {ATTEMPTS} times while it was read")


def _read(source: Path) -> tuple[File, ...]:
    if source.is_file():
        return (
            File(os.fsencode(source.name), source.stat().st_mode & 0o7777, _bounded(source.read_bytes())),
        )
    top = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _has(top, DATA):
            data = open_beneath(top, DATA, os.O_RDONLY | os.O_DIRECTORY)
            os.close(top)
            top = data
        return tuple(_Reader(top).files)
    finally:
        os.close(top)


class _Reader:
    def __init__(self, top: int) -> None:
        self._top = top
        self._bytes = 0
        self.files: list[File] = []
        self._walk(top, b"")

    def _walk(self, fd: int, prefix: bytes) -> None:
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            path = prefix + name
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                self._add(File(path, found.st_mode & 0o7777, None))
                inner = os.open(name, _DIRECTORY, dir_fd=fd)
                try:
                    self._walk(inner, path + b"/")
                finally:
                    os.close(inner)
            elif stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode):
                self._file(path)

    def _file(self, path: bytes) -> None:
        fd = open_beneath(self._top, path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            if stat.S_ISREG(found.st_mode):
                self._add(File(path, found.st_mode & 0o7777, _bounded(file.read(TOTAL_MAX + 1))))

    def _add(self, file: File) -> None:
        self.files.append(file)
        self._bytes += len(file.content or b"")
        if self._bytes > TOTAL_MAX or len(self.files) > ENTRIES_MAX:
            raise StorageFailed(
                f"a volume of copies holds at most {ENTRIES_MAX} files of {TOTAL_MAX} bytes together"
            )


def _bounded(content: bytes) -> bytes:
    if len(content) > TOTAL_MAX:
        raise StorageFailed(f"a volume of copies holds at most {TOTAL_MAX} bytes")
    return content


def _has(fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _version(source: Path) -> object:
    """Changes with the volume: where `..data` points to, or when anything in it was last touched."""
    try:
        return os.readlink(source / DATA)  # noqa: PTH115 - the text is wanted, not a tidied path
    except OSError:
        if source.is_file():
            return source.stat()[:10]
        return [
            _touched(fd, name)
            for _, dirs, files, fd in os.fwalk(source)
            for name in (*sorted(dirs), *sorted(files))
        ]


def _touched(fd: int, name: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _digest(files: tuple[File, ...]) -> str:
    digest = hashlib.sha256()
    for path, mode, content in files:
        digest.update(b"%d %s\0%o %d\0" % (len(path), path, mode, -1 if content is None else len(content)))
        digest.update(content or b"")
    return digest.hexdigest()


# --- tar ----------------------------------------------------------------------------------------------------


def _header(file: File) -> bytes:
    name = file.path + (b"/" if file.content is None else b"")
    size = len(file.content or b"")
    head = b""
    if len(name) > 100:
        record = _pax(b"path", name)
        head = _ustar(b"pax", 0o644, len(record), b"x") + record + bytes(-len(record) % _RECORD)
    return head + _ustar(name[:100], file.mode, size, b"5" if file.content is None else b"0")


def _pax(key: bytes, value: bytes) -> bytes:
    """`<length> <key>=<value>\\n`, where the length counts itself."""
    rest = b" " + key + b"=" + value + b"\n"
    size = len(rest)
    while size != len(str(size)) + len(rest):
        size = len(str(size)) + len(rest)
    return str(size).encode() + rest


def _ustar(name: bytes, mode: int, size: int, kind: bytes) -> bytes:
    fields = [
        name.ljust(100, b"\0"), b"%07o\0" % mode, b"0000000\0" * 2, b"%011o\0" % size, b"%011o\0" % 0, b" " * 8, kind,
        bytes(100), b"ustar\00000", bytes(80), bytes(167),
    ]  # fmt: skip
    header = bytearray(b"".join(fields))
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)
