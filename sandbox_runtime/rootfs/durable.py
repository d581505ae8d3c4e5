"""Files that are there whole or not at all: build aside, fsync, rename, fsync the directory."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox_runtime.rootfs.errors import DiskFull


def write_durable(path: Path, content: bytes, mode: int = 0o644) -> None:
    """A small file in a directory that is not published yet: its bytes reach the disk before this returns."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(fd)


def sync_directory(path: Path) -> None:
    """Names made or removed in a directory survive a power loss only after this."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def publish(temporary: Path, final: Path) -> None:
    """Give a finished directory or file its name."""
    if temporary.is_dir():
        sync_directory(temporary)
    temporary.rename(final)
    sync_directory(final.parent)


@contextmanager
def locked(path: Path, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file `path`, made on demand. Yields False where `wait` is off and somebody else holds it.

    A lock belongs to the open file: it ends with the process, however that ends. Whoever holds it exclusively may
    remove the file; the others notice that they hold a name of the past and begin again.
    """
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, kind)
            except BlockingIOError:
                yield False
                return
            if _is_still(path, fd):
                yield True
                return
        finally:
            os.close(fd)


def _is_still(path: Path, fd: int) -> bool:
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(fd)
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)


@contextmanager
def full_disk_told(where: Path, needed: int = 0) -> Iterator[None]:
    """Turn ENOSPC and EDQUOT into an error that says how much was free."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        found = os.statvfs(where)
        raise DiskFull(os.fspath(where), needed, found.f_bavail * found.f_frsize) from error
