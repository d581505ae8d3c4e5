"""What the VMM attaches and the guest mounts so that a container finds its files. Values only.

The names of disks are how host and guest agree: the VMM gives a disk its name as serial, the guest looks for that
serial.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.model import Io

SERIAL_MAX = 20  # of the serial number in SCSI page 0x80, which QEMU cuts off behind


class Disk(NamedTuple):
    """One disk of the virtual machine, raw.

    Attributes:
        name: serial number in the guest, at most 20 characters.
        files: image files or block devices; several are joined in this order (`join.descriptor`).
        read_only: for the VMM's own open as well.
        shared: other sandboxes read the same file: leave it to the host's page cache, of which there is one copy.
            A disk of its own goes around it (`direct`), or each byte would be cached by host and guest.
        io: limits, enforced by the VMM.
    """

    name: str
    files: tuple[Path, ...]
    read_only: bool = False
    shared: bool = False
    io: Io = Io()


class GuestMount(NamedTuple):
    """One mount in the guest, in order.

    Attributes:
        kind: erofs, ext4, xfs, overlay, tmpfs, nfs, nfs4, virtiofs or bind.
        source: `serial:<disk>`, a directory of the guest for bind, a tag for virtiofs, `host:/path` for nfs.
        target: absolute path in the guest, made if it is not there.
        options: as mount(8) has them.
        sub_path: below `source` of a bind; resolved in the guest without ever leaving it.
        fs_group: group that owns the target afterwards; -1 leaves it alone.
    """

    kind: str
    source: str
    target: str
    options: tuple[str, ...] = ()
    sub_path: str = ""
    fs_group: int = -1


class RootPlan(NamedTuple):
    """The root filesystem of one container.

    Attributes:
        disks: to attach, in any order, before the mounts.
        mounts: to do in this order, in the guest.
        target: the directory in the guest that is then the container's root.
        private: files that belong to this container alone and are removed with it.
    """

    disks: tuple[Disk, ...]
    mounts: tuple[GuestMount, ...]
    target: str
    private: tuple[Path, ...] = ()


def stacked(
    name: str, lowers: tuple[Disk, ...], upper: Disk, target: str, kinds: tuple[str, ...] = ()
) -> RootPlan:
    """Read-only erofs disks, uppermost first, under a writable ext4 disk.

    Args:
        name: unique in the sandbox; directories in the guest are named by it.
        lowers: the layers, at least one.
        upper: made by `upper.create`, which put the directories `upper` and `work` on it.
        target: where the container's root will be.
        kinds: filesystems of the layers, erofs where it is empty.
    """
    base = f"/run/bulkhead/root/{name}"
    places = [f"{base}/lower{index}" for index in range(len(lowers))]
    mounts = [
        GuestMount(kind, f"serial:{disk.name}", place, ("ro",))
        for disk, place, kind in zip(lowers, places, kinds or ("erofs",) * len(lowers), strict=True)
    ]
    mounts.append(GuestMount("ext4", f"serial:{upper.name}", f"{base}/disk", UPPER_OPTIONS))
    options = (f"lowerdir={':'.join(places)}", f"upperdir={base}/disk/upper", f"workdir={base}/disk/work")
    mounts.append(GuestMount("overlay", "overlay", target, options))
    return RootPlan((*lowers, upper), tuple(mounts), target, upper.files)


# `discard` gives deleted blocks back to the host's sparse file. The journal needs no barrier towards a disk that
# dies with
# the sandbox, and nobody reads access times of a layer that nobody keeps.
UPPER_OPTIONS = ("noatime", "discard", "nobarrier")


def alone(disk: Disk, kind: str, target: str, options: tuple[str, ...] = ()) -> RootPlan:
    """A filesystem that a snapshotter made as a block device, writable or not: passed through as it is."""
    modes = options or (("ro",) if disk.read_only else ())
    return RootPlan((disk,), (GuestMount(kind, f"serial:{disk.name}", target, modes),), target)
