"""The layers of this node: each an erofs image, made once, shared read-only by every sandbox that needs it.

    <directory>/
      images/<key>/image.erofs, record.json     published by one rename, or absent
      references/<key>/<holder>                  a sandbox that uses the layer
      building/<key>.<random>/                   unfinished; belongs to whoever holds the lock of the key
      locks/<key>, locks/.collect

Builders of one key wait for each other, those of different keys do not. What a killed builder left in `building`
is removed by the next one of its key, or by `collect`. A reference is written and an image is removed under one
lock, so that an image somebody was promised never goes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime import digests
from sandbox_runtime.rootfs.durable import full_disk_told, locked, publish, sync_directory, write_durable
from sandbox_runtime.rootfs.errors import LayerCorrupt
from sandbox_runtime.rootfs.record import Record, decode, encode, stamp

Build = Callable[[int], object]
_KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
_HOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_ENABLE_VERITY = 0x40806685  # _IOW('f', 133, struct fsverity_enable_arg)


class Layer(NamedTuple):
    """A layer that may be attached.

    Attributes:
        built: this call made it; False where it was there.
    """

    key: str
    path: Path
    size: int
    built: bool


class LayerCache:
    """One directory of layers. Any number of processes may use it at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("images", "references", "building", "locks"):
            (directory / name).mkdir(parents=True, exist_ok=True)

    # --- use ------------------------------------------------------------------------------------------------

    def acquire(self, key: str, holder: str, build: Build) -> Layer:
        """The image of `key`, made by `build(fd)` if it is not there, and a reference of `holder` to it.

        Raises:
            DiskFull: no room; nothing is left behind.
            LayerRefused: from `build`; nothing is left behind either.
        """
        _check(key, holder)
        with full_disk_told(self.directory):
            found = self._take(key, holder)
            if found is not None:
                return found
            with locked(self._lock(key)):
                found = self._take(key, holder)  # somebody else built it while we waited
                if found is not None:
                    return found
                self._clear(key)
                found = self._build(key, holder, build)
        if found is None:
            raise LayerCorrupt(f"{key}: the image that was just built is not as it was written")
        return found._replace(built=True)

    def find(self, key: str) -> Layer | None:
        """The image, if it is there and unchanged since it was written (one stat, no read of the content)."""
        path = self.image(key)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            now = stamp(fd)
        finally:
            os.close(fd)
        record = self.record(key)
        if record is None or record.key != key or record.stamp != now:
            return None
        return Layer(key, path, now.size, built=False)

    def release(self, holder: str) -> None:
        """Drop every reference of a sandbox. Safe to repeat."""
        _check("x", holder)
        for directory in (self.directory / "references").iterdir():
            (directory / holder).unlink(missing_ok=True)

    # --- trust ----------------------------------------------------------------------------------------------

    def verify(self, key: str) -> None:
        """Read the whole image and compare. Raises LayerCorrupt; the image is no longer used after that."""
        record = self.record(key)
        try:
            with self.image(key).open("rb") as image:
                found = hashlib.file_digest(image, digests.sha256).hexdigest()
        except OSError as error:  # fs-verity answers EIO for a damaged block
            found = f"unreadable: {error.strerror}"
        if record is None or found != record.digest:
            (self.image(key).parent / "record.json").unlink(missing_ok=True)
            raise LayerCorrupt(f"{key}: recorded {record.digest if record else 'nothing'}, found {found}")

    def record(self, key: str) -> Record | None:
        """What was written down about an image."""
        try:
            return decode((self.image(key).parent / "record.json").read_bytes())
        except FileNotFoundError:
            return None

    def image(self, key: str) -> Path:
        """Where the image of a key lies, or would."""
        return self.directory / "images" / key / "image.erofs"

    # --- inside ---------------------------------------------------------------------------------------------

    def _take(self, key: str, holder: str) -> Layer | None:
        """Look and write the reference while nobody removes images."""
        with locked(self._lock(".collect"), shared=True):
            return self._refer(key, holder)

    def _refer(self, key: str, holder: str) -> Layer | None:
        found = self.find(key)
        if found is not None:
            references = self.directory / "references" / key
            references.mkdir(exist_ok=True)
            (references / holder).touch()
            os.utime(found.path.parent)  # last use, for `collect`
        return found

    def _build(self, key: str, holder: str, build: Build) -> Layer | None:
        temporary = self.directory / "building" / f"{key}.{os.urandom(8).hex()}"
        temporary.mkdir()
        try:
            with full_disk_told(
                self.directory
            ):  # here as well, to see how full it was before the half image goes
                write_durable(
                    temporary / "record.json", encode(_write(temporary / "image.erofs", key, build))
                )
            with locked(self._lock(".collect"), shared=True):  # or it could go before anybody has it
                publish(temporary, self.image(key).parent)
                return self._refer(key, holder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def _clear(self, key: str) -> None:
        """With the lock of the key: what a killed builder left, and an image that is not to be trusted."""
        for left in (self.directory / "building").glob(f"{key}.*"):
            shutil.rmtree(left, ignore_errors=True)
        stale = self.image(key).parent
        if stale.exists():
            aside = self.directory / "building" / f"{key}.{os.urandom(8).hex()}"
            stale.rename(aside)
            sync_directory(stale.parent)
            shutil.rmtree(aside, ignore_errors=True)

    def _lock(self, name: str) -> Path:
        return self.directory / "locks" / name


def _write(path: Path, key: str, build: Build) -> Record:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        build(fd)
        os.fchmod(fd, 0o444)
        os.fsync(fd)
        digest = digests.of_file(fd)
    finally:
        os.close(fd)
    reader = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sealed = _seal(reader)
        return Record(key, digest, sealed, stamp(reader))
    finally:
        os.close(reader)


def _seal(fd: int) -> bool:
    """Let the kernel guard the file, where file system and kernel have fs-verity: every later read is checked."""
    argument = struct.pack(
        "<IIIIQIIQ88x", 1, 1, 4096, 0, 0, 0, 0, 0
    )  # version 1, SHA-256, 4 KiB blocks, no salt
    try:
        fcntl.ioctl(fd, _ENABLE_VERITY, argument)
    except OSError:
        return False
    return True


def _check(key: str, holder: str) -> None:
    if not _KEY.fullmatch(key) or not _HOLDER.fullmatch(holder):
        raise ValueError(f"{key!r} or {holder!r} cannot name a file")
