"""The root filesystem of one container: the way from an image, or from containerd's mounts, to a `RootPlan`.

This is the door of the package; what it makes belongs to `holder`, a sandbox, until `LayerCache.release(holder)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.model import Io
from sandbox_runtime.rootfs import upper
from sandbox_runtime.rootfs.cache import LayerCache
from sandbox_runtime.rootfs.image.source import Image
from sandbox_runtime.rootfs.layer.limits import DEFAULT, LayerLimits
from sandbox_runtime.rootfs.lower import Identity, Lower, Told, of_directories, of_image, silent
from sandbox_runtime.rootfs.plan import Disk, RootPlan, alone, stacked
from sandbox_runtime.rootfs.snapshot import Block, Blocks, Directories, SnapshotMount, recognise

UNLIMITED = Io()
NAME_MAX = 12  # leaves room for `-lower99` in a disk's serial number


class Room(NamedTuple):
    """Where one container's root is put together.

    Attributes:
        cache: the layers of this node.
        templates: formatted empty disks, to be copied.
        holder: the sandbox.
        name: of the container's root; unique in the sandbox, at most 12 of `a-z0-9-`.
        directory: of the sandbox, on the disk that is accounted for ephemeral storage.
        target: the container's root in the guest.
    """

    cache: LayerCache
    templates: Path
    holder: str
    name: str
    directory: Path
    target: str

    def disk(self, role: str) -> str:
        """The serial number of one of its disks."""
        if not 0 < len(self.name) <= NAME_MAX:
            raise ValueError(f"{self.name!r} is no name of at most {NAME_MAX} characters")
        return f"{self.name}-{role}"


def root_of_image(
    room: Room,
    image: Image,
    size: int,
    io: Io = UNLIMITED,
    limits: LayerLimits = DEFAULT,
    told: Told = silent,
) -> RootPlan:
    """Layers from the cache (made if need be) under a fresh disk of `size` bytes. `io` limits the writable disk."""
    return _over(room, of_image(room.cache, room.holder, image, limits, told), size, io)


def root_of_snapshot(
    room: Room, mounts: Sequence[SnapshotMount], size: int, io: Io = UNLIMITED, told: Told = silent
) -> RootPlan:
    """What containerd prepared: disks go through unchanged, directories become cached layers under a fresh disk.

    Raises:
        MountRefused: a mount that is neither.
    """
    found = recognise(mounts)
    if isinstance(found, Blocks):
        return _pass_through(room, found, size, io)
    return _over(room, of_directories(room.cache, room.holder, _layers(found), told=told), size, io)


def _layers(found: Directories) -> list[tuple[Path, Identity]]:
    """What somebody wrote before the container starts (volumes that an image declares) is one more layer."""
    layers = [(path, Identity.SNAPSHOT) for path in found.lowers]
    if found.upper is not None and (not layers or _holds_anything(found.upper)):
        layers.append((found.upper, Identity.TREE))
    return layers


def _holds_anything(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())


def _over(room: Room, lower: Lower, size: int, io: Io) -> RootPlan:
    lowers = tuple(
        Disk(room.disk(f"lower{index}"), files, read_only=True, shared=True)
        for index, files in enumerate(lower.disks)
    )
    return stacked(room.name, lowers, _fresh(room, size, io, lower.owner), room.target)


def _fresh(room: Room, size: int, io: Io, owner: upper.RootOwner = upper.ROOT) -> Disk:
    path = room.directory / f"{room.name}-upper.ext4"
    upper.create(path, size, room.templates, owner)
    return Disk(room.disk("upper"), (path,), io=io)


def _pass_through(room: Room, found: Blocks, size: int, io: Io) -> RootPlan:
    if not found.lowers and found.upper is not None:
        disk = Disk(room.disk("root"), (found.upper.source,), io=io)
        return alone(disk, found.upper.kind, room.target, found.upper.options)
    lowers = tuple(_shared(room, index, block) for index, block in enumerate(found.lowers))
    if found.upper is None:
        return stacked(room.name, lowers, _fresh(room, size, io), room.target, _kinds(found))
    disk = Disk(room.disk("upper"), (found.upper.source,), io=io)
    return stacked(room.name, lowers, disk, room.target, _kinds(found))._replace(private=())


def _shared(room: Room, index: int, block: Block) -> Disk:
    return Disk(room.disk(f"lower{index}"), (block.source,), read_only=True, shared=True)


def _kinds(found: Blocks) -> tuple[str, ...]:
    return tuple(block.kind for block in found.lowers)
