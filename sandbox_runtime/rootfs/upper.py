"""Private, writable disks: a sparse ext4 file of the size that the pod may use, under a container's root or as a
volume.

The file cannot grow beyond its size, so the limit holds whatever the guest does. mkfs runs once per size and owner; a
container gets a copy of the few hundred KiB that mkfs wrote.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.rootfs import ranges
from sandbox_runtime.rootfs.durable import full_disk_told, locked, publish
from sandbox_runtime.rootfs.errors import RootfsError

SMALLEST = 16 << 20
_STEP = 1 << 20
_FORMAT = "2"  # of the options below; a template made with others is another template


class RootOwner(NamedTuple):
    """Of the container's `/`, which overlayfs takes from the upper directory."""

    permissions: int = 0o755
    uid: int = 0
    gid: int = 0


ROOT = RootOwner()


def create(
    path: Path,
    size: int,
    templates: Path,
    owner: RootOwner = ROOT,
    folders: tuple[str, ...] = ("upper", "work"),
) -> int:
    """Make the disk `path` with these directories on it. Returns its length in bytes: `size` in whole MiB, at
    least 16 MiB.

    Raises:
        DiskFull: no room for the first blocks; nothing was left behind.
    """
    size = max(SMALLEST, size // _STEP * _STEP)
    template = _template(templates, size, owner, folders)
    with full_disk_told(path.parent):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with template.open("rb") as source:
                os.truncate(fd, size)
                for start, end in ranges.data(source.fileno(), size):
                    ranges.copy(source.fileno(), start, fd, start, end - start)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(fd)
    return size


def used(path: Path) -> int:
    """Bytes that the disk takes on the host now."""
    return path.stat().st_blocks * 512


def _template(templates: Path, size: int, owner: RootOwner, folders: tuple[str, ...]) -> Path:
    name = f"ext4-{_FORMAT}-{size >> 20}-{owner.permissions:o}-{owner.uid}-{owner.gid}-{'-'.join(folders)}"
    final = templates / name
    if final.exists():
        return final
    templates.mkdir(parents=True, exist_ok=True)
    with locked(templates / f".{name}.lock"), full_disk_told(templates):
        if not final.exists():
            _format(templates, final, size, owner, folders)
    return final


def _format(templates: Path, final: Path, size: int, owner: RootOwner, folders: tuple[str, ...]) -> None:
    for left in templates.glob(f".{final.name}.*.tmp"):  # of somebody who died holding the lock
        shutil.rmtree(left, ignore_errors=True)
    room = templates / f".{final.name}.{os.urandom(4).hex()}.tmp"
    room.mkdir()
    try:
        _skeleton(room / "tree", owner, folders)
        with (room / "image").open("wb") as image:
            os.truncate(image.fileno(), size)
        _mkfs(room / "image", room / "tree")
        with (room / "image").open("rb") as image:
            os.fsync(image.fileno())
        publish(room / "image", final)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _skeleton(tree: Path, owner: RootOwner, folders: tuple[str, ...]) -> None:
    """What the container shall see, with its owner; nobody sees the root of the disk and its lost+found."""
    tree.mkdir()
    for name in folders:
        (tree / name).mkdir()
        (tree / name).chmod(owner.permissions)
        if os.getuid() == 0:
            os.chown(tree / name, owner.uid, owner.gid)


def _mkfs(image: Path, tree: Path) -> None:
    """A fresh sparse file reads as zeros, so nothing needs to be zeroed, now or later in the guest."""
    extended = "lazy_itable_init=1,lazy_journal_init=1,assume_storage_prezeroed=1,nodiscard,root_owner=0:0"
    import subprocess  # memory of every sandbox, for those that come here

    done = subprocess.run(
        [
            "mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-J", f"size={_journal(image.stat().st_size)}",
            "-O", "^resize_inode", "-E", extended, "-d", str(tree), str(image),
        ],
        capture_output=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RootfsError(f"mkfs.ext4: {done.stderr.decode(errors='replace').strip()[-400:]}")


def _journal(size: int) -> int:
    """MiB of journal: the smallest (1024 blocks) up to 1 GiB, never more than 16, since the file fills all of it."""
    return 4 if size <= 1 << 30 else 16
