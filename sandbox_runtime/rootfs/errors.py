"""What can go wrong on the way to a root filesystem.

StorageFailed
└── RootfsError
    ├── LayerRefused      the layer itself is bad: malformed, hostile, beyond a limit (code says which)
    ├── LayerCorrupt      what the cache holds is not what it wrote down
    ├── DigestMismatch    the bytes that came are not the bytes that were promised
    ├── ImageRefused      an OCI layout or archive that cannot be read as an image
    ├── MountRefused      a containerd mount that cannot become a disk
    └── DiskFull          the host filesystem has no room; nothing was left behind
"""

from __future__ import annotations

from sandbox_runtime.errors import StorageFailed


class RootfsError(StorageFailed):
    """The root filesystem of a container cannot be made."""


class LayerRefused(RootfsError):
    """The layer is malformed, hostile or beyond a limit.

    Attributes:
        code: a stable word, e.g. `path-escapes`, `too-many-entries`.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"layer refused ({code}): {detail}")
        self.code = code


class LayerCorrupt(RootfsError):
    """A cached image differs from its record."""


class DigestMismatch(RootfsError):
    """Content arrived whose digest is not the one that names it."""

    def __init__(self, what: str, expected: str, found: str) -> None:
        super().__init__(f"{what}: expected {expected}, found {found}")


class ImageRefused(RootfsError):
    """The image source cannot be read, or names what it does not contain."""


class MountRefused(RootfsError):
    """A mount handed over by the snapshotter cannot become a disk of the sandbox."""


class DiskFull(RootfsError):
    """No room on the host filesystem; the unfinished file was removed.

    Attributes:
        needed: bytes that the work asked for at least; 0 where that is not known.
        free: bytes that the filesystem had.
    """

    def __init__(self, where: str, needed: int, free: int) -> None:
        wanted = f"{needed} bytes needed, " if needed else ""
        super().__init__(f"no room on the filesystem of {where}: {wanted}{free} bytes free")
        self.needed = needed
        self.free = free
