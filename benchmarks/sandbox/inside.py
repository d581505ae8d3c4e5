"""A guest with volumes and one container in it, held by this process: programs are run in it and their output read.

The container may use every device of its guest, so that a disk can be measured with and without a file system on it.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sandbox_runtime import oci
from sandbox_runtime.channel import Channel
from sandbox_runtime.lifecycle.journal import Journal
from sandbox_runtime.model import MIB, ContainerSpec, Mount, NetKind, Nic, Volume
from sandbox_runtime.paths import Paths
from sandbox_runtime.protocol import messages
from sandbox_runtime.rootfs import upper
from sandbox_runtime.rootfs.cache import LayerCache
from sandbox_runtime.rootfs.container import Room, root_of_image
from sandbox_runtime.rootfs.image.config import ImageConfig
from sandbox_runtime.rootfs.image.source import open_image
from sandbox_runtime.rootfs.plan import Disk, GuestMount
from sandbox_runtime.supervisor import disks, network, shares
from sandbox_runtime.vmm.cgroup import Cgroup
from sandbox_runtime.vmm.launch import Launcher, Request
from sandbox_runtime.vmm.vm import Vm, reap
from sandbox_runtime.volumes.plan import DISK_FOLDER, VolumePlan, bind, plan_volume

SECONDS = 120.0
ROOT_BYTES = 768 * MIB
ROOT = "/run/bulkhead/root/c0/merged"
EVERY_DEVICE = {"devices": [{"allow": True, "access": "rwm"}]}
DEVICE_MS = 60_000


class Output(NamedTuple):
    """What a program left."""

    code: int
    stdout: bytes
    stderr: bytes


class Inside:
    """The container."""

    def __init__(self, channel: Channel, vm: Vm) -> None:
        self._channel, self._count, self._vm = channel, 0, vm

    def crash(self, argv: Sequence[str], seconds: float) -> None:
        """Run a program that ends the guest's kernel, and wait until it has."""
        process = json.dumps(oci.process(argv, (), "/", oci.ROOT, False))
        stdio = messages.Stdio(0, 0, 0, False, 0, 0)
        self._channel.request("exec", messages.Exec("main", "crash", process, stdio), lambda answer: None)
        self._channel.flush()
        self._vm.qmp.wait_event(frozenset({"SHUTDOWN", "GUEST_PANICKED"}), seconds)

    def run(self, argv: Sequence[str]) -> Output:
        """Run a program to its end."""
        self._count += 1
        name = f"x{self._count}"
        out, err = self._channel.reader(), self._channel.reader()
        stdio = messages.Stdio(0, out.number, err.number, False, 0, 0)
        process = json.dumps(oci.process(argv, (), "/", oci.ROOT, False))
        self._channel.call("exec", messages.Exec("main", name, process, stdio), SECONDS)
        said = out.read_all(SECONDS)
        complained = err.read_all(SECONDS)
        ended = self._channel.call("wait", messages.Name("main", name), SECONDS)
        self._channel.call("remove", messages.Name("main", name), SECONDS)
        return Output(ended.code, said, complained)


@contextmanager
def inside(
    launcher: Launcher,
    request: Request,
    program: Path,
    volumes: Sequence[Volume],
    raw: Sequence[Disk],
    nic: Nic,
    mounts: Sequence[GuestMount] = (),
) -> Iterator[Inside]:
    """Boot, attach, mount, create. A volume is seen at `/<its name>`, `program` as `/bin/<its name>`.

    `mounts` are made besides, at targets below `ROOT`.
    """
    paths, storage = launcher.paths, launcher.paths.storage(request.id)
    storage.mkdir(parents=True, exist_ok=True)
    plans = [_planned(paths, storage, volume, number) for number, volume in enumerate(volumes)]
    root = root_of_image(_room(paths, request.id, storage), open_image(_image(storage, program)), ROOT_BYTES)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, storage)
        stack.callback(LayerCache(paths.layers).release, request.id)
        served = _serve(paths, request.id, plans, stack)
        tap = network.open_up(nic) if nic.kind is NetKind.TAP else -1
        if tap >= 0:
            stack.callback(os.close, tap)
        vm = launcher.start(request._replace(shares=served, tap=tap))
        stack.callback(vm.close)
        with socket.socket(socket.AF_UNIX) as port:
            port.connect(str(vm.channel_socket))
            channel = Channel(port)
            channel.greet(SECONDS)
            card = network.in_guest(nic)
            if card is not None:
                channel.call("network", card, SECONDS)
            for disk in (*raw, *root.disks, *(disk for plan in plans for disk in plan.disks)):
                disks.attach(vm, disk)
            for mount in (*root.mounts, *(mount for plan in plans for mount in plan.mounts), *mounts):
                channel.call("mount", _message(mount), SECONDS)
            _create(channel, volumes, plans, root.target)
            yield Inside(channel, vm)


def _planned(paths: Paths, storage: Path, volume: Volume, number: int) -> VolumePlan:
    plan = plan_volume(volume, number, storage)
    if plan.new_disk is not None:
        path, size = plan.new_disk
        upper.create(path, size, paths.cache / "empty-disks", folders=(DISK_FOLDER,))
    return plan


def _room(paths: Paths, holder: str, storage: Path) -> Room:
    cache = LayerCache(paths.layers)
    return Room(cache, paths.cache / "empty-disks", holder, "c0", storage, ROOT)


def _image(storage: Path, program: Path) -> Path:
    image = storage / "image"
    for name in ("bin", "proc", "sys", "dev", "tmp"):
        (image / name).mkdir(parents=True)
    shutil.copy(program, image / "bin" / program.name)
    return image


def _serve(
    paths: Paths, holder: str, plans: Sequence[VolumePlan], stack: ExitStack
) -> tuple[tuple[str, int], ...]:
    paths.sandbox(holder).mkdir(mode=0o700, parents=True, exist_ok=True)
    journal, served = Journal(paths.sandbox(holder)), []
    for plan in plans:
        if plan.share is not None:
            child, connection = shares.serve(paths, holder, plan.share, Cgroup(""), journal)
            stack.callback(reap, child)
            stack.callback(child.process.end)
            stack.callback(os.close, connection)
            served.append((plan.share.tag, connection))
    return tuple(served)


def _message(mount: GuestMount) -> messages.Mount:
    wait = DEVICE_MS if mount.source.startswith("serial:") else 0
    return messages.Mount(
        mount.kind, mount.source, mount.sub_path, mount.target, mount.options, mount.fs_group, wait
    )


def _create(channel: Channel, volumes: Sequence[Volume], plans: Sequence[VolumePlan], target: str) -> None:
    binds = [
        bind(Mount(volume.name, f"/{volume.name}"), plan, "c0", number)
        for number, (volume, plan) in enumerate(zip(volumes, plans, strict=True))
    ]
    for each in binds:
        channel.call("mount", _message(each.mount), SECONDS)
    spec = ContainerSpec("main", ("/bin/load", "sleep"))
    config: dict[str, Any] = oci.config(spec, ImageConfig(), oci.ROOT, [each.oci for each in binds])
    config["linux"]["resources"] |= EVERY_DEVICE
    config["linux"]["readonlyPaths"] = []
    reader = channel.reader()
    stdio = messages.Stdio(0, reader.number, 0, False, 0, 0)
    channel.call("create", messages.Create("main", json.dumps(config), target, stdio), SECONDS)
    channel.call("start", messages.Name("main", ""), SECONDS)
