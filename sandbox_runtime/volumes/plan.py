"""A volume -> what is attached, mounted, served or copied so that the guest has it. Pure.

Every volume gets a directory of its own in the guest; containers see it, or a part of it, through bind mounts. So a
volume is attached once however many containers use it, and a subPath means the same to all of them.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.errors import BadInput
from sandbox_runtime.model import Mount, Volume, VolumeKind
from sandbox_runtime.rootfs.plan import Disk, GuestMount

GUEST = "/run/bulkhead/volumes"
DISK_FOLDER = (
    "volume"  # on a disk of ours: the root of the file system holds lost+found, which is nobody's business
)


class ShareOwner(StrEnum):
    """As whom the host serves a shared directory."""

    SANDBOX = (
        "sandbox"  # the sandbox's own unprivileged user: the guest can do what any stranger on the host can
    )
    ROOT = "root"  # what Kubernetes' hostPath means; only where an administrator says so


class Share(NamedTuple):
    """A host directory that a virtiofsd serves.

    Attributes:
        tag: the guest mounts by it, at most 36 bytes (virtio specification 5.11.4).
        directory: nothing outside of it is reachable.
    """

    tag: str
    directory: Path
    read_only: bool
    owner: ShareOwner = ShareOwner.SANDBOX


class Copy(NamedTuple):
    """A host directory of small files whose content is put into `target`, again whenever it changes."""

    directory: Path
    target: str
    fs_group: int


class VolumePlan(NamedTuple):
    """What one volume takes.

    Attributes:
        new_disk: (file to make, bytes) of a disk that is born and dies with the sandbox; it is among `disks`.
        target: the volume's directory in the guest.
    """

    disks: tuple[Disk, ...] = ()
    mounts: tuple[GuestMount, ...] = ()
    share: Share | None = None
    copy: Copy | None = None
    new_disk: tuple[Path, int] | None = None
    target: str = ""


class Bind(NamedTuple):
    """Where a container sees a volume: the guest does `mount`, the container's OCI config gets `oci`."""

    mount: GuestMount
    oci: dict[str, object]


def plan_volume(
    volume: Volume, number: int, directory: Path, owner: ShareOwner = ShareOwner.SANDBOX
) -> VolumePlan:
    """What a volume takes.

    Args:
        volume: as the front end read it.
        number: unique in the sandbox; disks and tags are named by it, since names of volumes can be long.
        directory: of the sandbox on the host, for new disks.
        owner: as whom a shared directory is served.

    Raises:
        BadInput: the volume cannot be, with the reason.
    """
    name, target = f"vol{number}", f"{GUEST}/{number}"
    match volume.kind:
        case VolumeKind.BLOCK:
            return _block(volume, Disk(name, (Path(volume.source),), volume.read_only, io=volume.io), target)
        case VolumeKind.DISK:
            return _new_disk(volume, directory / f"{name}.ext4", name, target)
        case VolumeKind.TMPFS:
            return _tmpfs(volume, target)
        case VolumeKind.NFS:
            return VolumePlan(mounts=(_nfs(volume, target),), target=target)
        case VolumeKind.VIRTIOFS:
            share = Share(name, Path(volume.source), volume.read_only, owner)
            mount = GuestMount("virtiofs", name, target, _options(volume, "nosuid", "nodev"))
            return VolumePlan(mounts=(mount,), share=share, target=target)
        case VolumeKind.COPY:
            return _copy(volume, target)


def bind(mount: Mount, plan: VolumePlan, container: str, number: int) -> Bind:
    """The `number`-th mount of a container. The agent resolves `sub_path` without ever leaving the volume."""
    if mount.sub_path.startswith("/") or ".." in mount.sub_path.split("/"):
        raise BadInput(
            f"subPath {mount.sub_path!r} of volume {mount.volume}: must be relative and without `..`"
        )
    if not mount.path.startswith("/") or "\0" in mount.path + mount.sub_path:
        raise BadInput(f"{mount.path!r}: the place of a volume in a container is an absolute path")
    place = f"/run/bulkhead/binds/{container}/{number}"
    options = ("rbind", "ro") if mount.read_only else ("rbind",)
    return Bind(
        GuestMount("bind", plan.target, place, options, mount.sub_path),
        {
            "destination": mount.path,
            "type": "bind",
            "source": place,
            "options": [*options, "nosuid", "nodev", "rprivate"],
        },
    )


def _options(volume: Volume, *ours: str) -> tuple[str, ...]:
    return (*ours, *(("ro",) if volume.read_only else ()), *volume.options)


def _block(volume: Volume, disk: Disk, target: str) -> VolumePlan:
    mount = GuestMount(
        volume.fstype or "ext4", f"serial:{disk.name}", target, _options(volume, "nosuid", "nodev"),
        fs_group=volume.fs_group,
    )  # fmt: skip
    return VolumePlan((disk,), (mount,), target=target)


def _new_disk(volume: Volume, path: Path, name: str, target: str) -> VolumePlan:
    if volume.size_bytes <= 0:
        raise BadInput(f"volume {volume.name}: a disk needs a size")
    plan = _block(volume, Disk(name, (path,), io=volume.io), f"{target}.disk")
    options = ("noatime", "discard", "nobarrier", "nosuid", "nodev")
    disk = plan.mounts[0]._replace(kind="ext4", options=options, fs_group=-1)
    shown = GuestMount("bind", disk.target, target, ("bind",), DISK_FOLDER, volume.fs_group)
    return plan._replace(mounts=(disk, shown), new_disk=(path, volume.size_bytes), target=target)


def _tmpfs(volume: Volume, target: str) -> VolumePlan:
    if volume.size_bytes < 0:
        raise BadInput(f"volume {volume.name}: a size below zero")
    size = (f"size={volume.size_bytes}",) if volume.size_bytes else ()
    options = _options(volume, "nosuid", "nodev", "mode=1777", *size)
    return VolumePlan(
        mounts=(GuestMount("tmpfs", "tmpfs", target, options, fs_group=volume.fs_group),), target=target
    )


def _nfs(volume: Volume, target: str) -> GuestMount:
    server, colon, path = volume.source.rpartition(":")
    if not (server and colon and path.startswith("/")):
        raise BadInput(f"volume {volume.name}: {volume.source!r} is not SERVER:/PATH")
    kind = volume.fstype or "nfs4"
    return GuestMount(kind, volume.source, target, _options(volume, "nosuid", "nodev"), fs_group=-1)


def _copy(volume: Volume, target: str) -> VolumePlan:
    """Guest memory, which the agent alone writes to; containers get it read-only through `bind`."""
    memory = GuestMount("tmpfs", "tmpfs", target, ("nosuid", "nodev", "mode=755"))
    return VolumePlan(
        mounts=(memory,), copy=Copy(Path(volume.source), target, volume.fs_group), target=target
    )
