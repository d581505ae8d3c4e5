"""What the containers and volumes of an order take: private disks made, plans for machine and guest worked out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.model import ContainerSpec
from sandbox_runtime.paths import Paths
from sandbox_runtime.rootfs import upper
from sandbox_runtime.rootfs.cache import LayerCache
from sandbox_runtime.rootfs.container import Room, root_of_image
from sandbox_runtime.rootfs.image.config import ImageConfig
from sandbox_runtime.rootfs.image.source import open_image
from sandbox_runtime.rootfs.plan import Disk, GuestMount, RootPlan
from sandbox_runtime.supervisor.order import Order
from sandbox_runtime.volumes.plan import DISK_FOLDER, Bind, Share, ShareOwner, VolumePlan, bind, plan_volume


class ContainerPlan(NamedTuple):
    """One container: its root, what its image says, and where it sees volumes."""

    spec: ContainerSpec
    image: ImageConfig
    root: RootPlan
    binds: tuple[Bind, ...]


class Plans(NamedTuple):
    """All of an order."""

    containers: tuple[ContainerPlan, ...]
    volumes: tuple[VolumePlan, ...]

    def disks(self) -> list[Disk]:
        """To attach."""
        found = [disk for container in self.containers for disk in container.root.disks]
        return found + [disk for volume in self.volumes for disk in volume.disks]

    def mounts(self) -> list[GuestMount]:
        """To do in the guest, in order; without binds, for which copies must be there first."""
        found = [mount for container in self.containers for mount in container.root.mounts]
        return found + [mount for volume in self.volumes for mount in volume.mounts]

    def shares(self) -> list[Share]:
        """To serve."""
        return [volume.share for volume in self.volumes if volume.share is not None]


def make(paths: Paths, order: Order) -> Plans:
    """Make the private disks and work out the rest. Raises BadInput, StorageFailed."""
    directory = paths.storage(order.spec.id)
    owner = ShareOwner.ROOT if order.root_shares else ShareOwner.SANDBOX
    volumes = {
        volume.name: plan_volume(volume, number, directory, owner)
        for number, volume in enumerate(order.spec.volumes)
    }
    for plan in volumes.values():
        if plan.new_disk is not None:
            path, size = plan.new_disk
            upper.create(path, size, empty_disks(paths), folders=(DISK_FOLDER,))
    containers = [
        _container(paths, order, number, spec, volumes) for number, spec in enumerate(order.spec.containers)
    ]
    return Plans(tuple(containers), tuple(volumes.values()))


def room(paths: Paths, sandbox_id: str, number: int) -> Room:
    """Where the root of the `number`-th container is put together."""
    name = f"c{number}"
    target = f"/run/bulkhead/root/{name}/merged"
    return Room(
        LayerCache(paths.layers), empty_disks(paths), sandbox_id, name, paths.storage(sandbox_id), target
    )


def empty_disks(paths: Paths) -> Path:
    """Formatted empty disks, to be copied."""
    return paths.cache / "empty-disks"


def _container(
    paths: Paths, order: Order, number: int, spec: ContainerSpec, volumes: dict[str, VolumePlan]
) -> ContainerPlan:
    image = open_image(Path(spec.image))
    root = root_of_image(room(paths, order.spec.id, number), image, spec.rootfs_bytes, spec.rootfs_io)
    binds = [bind(mount, volumes[mount.volume], f"c{number}", at) for at, mount in enumerate(spec.mounts)]
    return ContainerPlan(spec, image.config, root, tuple(binds))
