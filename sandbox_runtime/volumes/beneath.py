"""Opens a path below a directory and never anything outside, whatever symlinks and renames a stranger makes."""

from __future__ import annotations

import ctypes
import errno
import os

from sandbox_runtime.errors import StorageFailed

RESOLVE_NO_MAGICLINKS, RESOLVE_BENEATH = 0x02, 0x08
_OPENAT2 = 437  # the same number on every architecture: it is younger than their common table
_RETRIES = 8  # EAGAIN: something was renamed while the kernel looked, openat2(2)
_NO_SYMLINKS = os.O_NOFOLLOW | os.O_CLOEXEC


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)


def open_beneath(root: int, path: str | bytes, flags: int = os.O_RDONLY) -> int:
    """Open `path` relative to the directory `root`, following symlinks only where they stay below it.

    Raises:
        StorageFailed: the path leads out.
        OSError: as open(2).
    """
    raw = os.fsencode(path)
    how = _How(flags | os.O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    for _ in range(_RETRIES):
        fd = _libc.syscall(_OPENAT2, root, raw, ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return int(fd)
        number = ctypes.get_errno()
        if number == errno.EXDEV:
            raise StorageFailed(f"{os.fsdecode(raw)!r} leads out of the volume")
        if number in (
            errno.ENOSYS,
            errno.EPERM,
        ):  # a kernel before 5.6, or a seccomp filter that does not know it
            return _walk(root, raw, flags)
        if number != errno.EAGAIN:
            raise OSError(number, os.strerror(number), os.fsdecode(raw))
    raise StorageFailed(f"{os.fsdecode(raw)!r} keeps changing while it is opened")


def _walk(root: int, raw: bytes, flags: int) -> int:
    """One name at a time, no symlink at all: stricter than the kernel's own way, and right on any kernel."""
    parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
    if b".." in parts or raw.startswith(b"/"):
        raise StorageFailed(f"{os.fsdecode(raw)!r} leads out of the volume")
    here = os.dup(root)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | _NO_SYMLINKS, dir_fd=here)
            os.close(here)
            here = below
        return os.open(parts[-1] if parts else b".", flags | _NO_SYMLINKS, dir_fd=here)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StorageFailed(f"{os.fsdecode(raw)!r} leads over a symlink") from None
        raise
    finally:
        os.close(here)
