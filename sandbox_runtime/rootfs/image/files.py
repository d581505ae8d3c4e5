"""Where the documents and blobs of an image lie: a directory, or a tar archive that is read where it stands."""

from __future__ import annotations

import io
import os
import posixpath
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, cast

from sandbox_runtime.rootfs.errors import ImageRefused
from sandbox_runtime.rootfs.image.config import DOCUMENT_MAX
from sandbox_runtime.rootfs.layer.tar import entries

MEMBERS_MAX = 10_000


class Blob(NamedTuple):
    """Bytes of a file of the host."""

    path: Path
    offset: int
    size: int

    def open(self) -> BinaryIO:
        """A file that begins and ends with the blob. A part of a larger file is a view, not a copy."""
        fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        if self.offset == 0 and self.size == os.fstat(fd).st_size:
            return os.fdopen(fd, "rb")
        return cast(BinaryIO, io.BufferedReader(_Part(fd, self.offset, self.size), 1 << 20))


class _Part(io.RawIOBase):
    def __init__(self, fd: int, offset: int, size: int) -> None:
        self._fd, self._begin, self._size, self._at = fd, offset, size, 0

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        want = min(len(buffer), self._size - self._at)
        data = os.pread(self._fd, want, self._begin + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, min(base + offset, self._size))
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


class Files(Protocol):
    """Names -> blobs."""

    def find(self, name: str) -> Blob | None:
        """The blob of this relative name."""
        ...


class DirectoryFiles:
    """An image that was unpacked. Names come from documents of the image: they never leave the directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def find(self, name: str) -> Blob | None:
        """The file, if it is a regular one and no symlink."""
        path = self._root / _clean(name)
        return Blob(path, 0, path.stat().st_size) if path.is_file() and not path.is_symlink() else None


class ArchiveFiles:
    """An image in an uncompressed tar: an index of names, no extraction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, Blob] = {}
        self._links: dict[str, str] = {}
        with path.open("rb") as file:
            for entry in entries(file.read, lambda size: file.seek(size, os.SEEK_CUR)):
                name = _clean(os.fsdecode(entry.name))
                if len(self._found) + len(self._links) > MEMBERS_MAX:
                    raise ImageRefused(
                        f"{path}: more than {MEMBERS_MAX} members; an image has a few for each layer"
                    )
                if entry.kind == b"0":
                    self._found[name] = Blob(path, file.tell(), entry.size)
                elif entry.kind in (b"1", b"2"):
                    base = posixpath.dirname(name) if entry.kind == b"2" else ""
                    self._links[name] = _clean(posixpath.join(base, os.fsdecode(entry.link)))

    def find(self, name: str) -> Blob | None:
        """The member; a link inside the archive is followed once, as `docker save` writes them."""
        name = _clean(name)
        return self._found.get(name) or self._found.get(self._links.get(name, ""))


def _clean(name: str) -> str:
    cleaned = posixpath.normpath(name.lstrip("/"))
    if cleaned.startswith("../") or cleaned == ".." or "\0" in cleaned:
        raise ImageRefused(f"{name[:200]!r} leads out of the image")
    return cleaned


def document(files: Files, name: str) -> bytes:
    """The content of a small file. Raises ImageRefused where it is missing or not small."""
    blob = files.find(name)
    if blob is None:
        raise ImageRefused(f"{name[:200]}: not in the image")
    if blob.size > DOCUMENT_MAX:
        raise ImageRefused(f"{name[:200]}: {blob.size} bytes, where {DOCUMENT_MAX} are the limit")
    with blob.open() as file:
        return file.read()
