"""A cpio archive of the "newc" kind (Documentation/driver-api/early-userspace/buffer-format.rst). Pure, reproducible.

Uncompressed: the VMM copies it into guest memory, which costs less than to decompress it there.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping

_ALIGN = 4


def pack(files: Mapping[str, bytes], executable: frozenset[str] = frozenset()) -> bytes:
    """Archive of regular files by path; the directories they need are made. Owner root, time 0, sorted."""
    folders = sorted({path[:at] for path in files for at, char in enumerate(path) if char == "/"})
    archive = bytearray()
    for number, folder in enumerate(folders, 1):
        archive += _entry(number, folder, stat.S_IFDIR | 0o755, b"")
    for number, path in enumerate(sorted(files), len(folders) + 1):
        mode = 0o755 if path in executable else 0o644
        archive += _entry(number, path, stat.S_IFREG | mode, files[path])
    archive += _console(len(folders) + len(files) + 1)
    return bytes(archive + _entry(0, "TRAILER!!!", 0, b""))


def _console(number: int) -> bytes:
    # Without /dev/console the kernel starts process 1 with no descriptors at all.
    folder = _entry(number, "dev", stat.S_IFDIR | 0o755, b"")
    return folder + _entry(number + 1, "dev/console", stat.S_IFCHR | 0o600, b"", device=(5, 1))


def _entry(number: int, path: str, mode: int, data: bytes, device: tuple[int, int] = (0, 0)) -> bytes:
    name = path.encode() + b"\x00"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGN)
