"""A container's root as a guest sees it: layers joined into one disk, whiteouts, a private upper, volumes beside it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from sandbox_runtime.channel import Channel
from sandbox_runtime.model import MIB, Io, Volume, VolumeKind
from sandbox_runtime.protocol import messages
from sandbox_runtime.rootfs.cache import LayerCache
from sandbox_runtime.rootfs.container import Room, root_of_snapshot
from sandbox_runtime.rootfs.plan import Disk, GuestMount, RootPlan
from sandbox_runtime.rootfs.snapshot import SnapshotMount
from sandbox_runtime.rootfs.upper import create
from sandbox_runtime.vmm.joined import attach_joined
from sandbox_runtime.vmm.launch import Launcher
from sandbox_runtime.vmm.vm import Vm
from sandbox_runtime.volumes.copies import read
from sandbox_runtime.volumes.plan import DISK_FOLDER, bind, plan_volume
from sandbox_runtime.volumes.syntax import parse
from tests.support import guest_machine
from tests.support.guest_sessions import BUSYBOX, ROOTFS, GuestSession
from tests.support.vmm import launcher, request, session

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(guest_machine.missing()), reason=guest_machine.missing()),
    pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts are made by root only"),
]
APPLETS = ["sh", "cat", "ls", "echo", "dd", "sync", "df", "stat", "id", "touch", "sleep"]


@pytest.fixture(scope="module")
def starts() -> Iterator[Launcher]:
    with launcher() as found:
        yield found


def attach(vm: Vm, disk: Disk) -> None:
    mode = os.O_RDONLY if disk.read_only else os.O_RDWR
    fds = [os.open(path, mode | os.O_CLOEXEC) for path in disk.files]
    try:
        if len(fds) > 1:
            attach_joined(vm.disks, disk.name, fds, disk.name)
        else:
            vm.disks.attach(disk.name, fds[0], disk.name, disk.read_only, disk.io)
    finally:
        for fd in fds:
            os.close(fd)


def mount(channel: Channel, wanted: GuestMount) -> None:
    message = messages.Mount(
        wanted.kind, wanted.source, wanted.sub_path, wanted.target, wanted.options, wanted.fs_group, 60_000
    )
    channel.call("mount", message, 90)


def lay(vm: Vm, channel: Channel, plan: RootPlan) -> None:
    for disk in plan.disks:
        attach(vm, disk)
    for wanted in plan.mounts:
        mount(channel, wanted)


def snapshots(where: Path, extra: int = 0) -> list[Path]:
    """Layers as the overlayfs snapshotter leaves them, lowest first."""
    base, middle, top = (where / name for name in ("1", "2", "3"))
    (base / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, base / "bin/busybox")
    for name in APPLETS:
        (base / "bin" / name).symlink_to("busybox")
    for name in ("proc", "dev", "sys", "tmp", "d", "o"):
        (base / name).mkdir()
    (base / "tmp").chmod(0o1777)
    (base / "d/deleted").write_text("x")
    (base / "d/kept").write_text("kept")
    (base / "o/hidden").write_text("x")
    (middle / "d").mkdir(parents=True)
    os.mknod(middle / "d/deleted", 0o020000, os.makedev(0, 0))
    (middle / "o").mkdir()
    os.setxattr(middle / "o", "trusted.overlay.opaque", b"y")
    (middle / "o/shown").write_text("shown")
    (top / "d").mkdir(parents=True)
    (top / "d/new").write_text("new")
    made = [base, middle, top]
    for number in range(extra):
        (where / f"x{number}" / "d").mkdir(parents=True)
        (where / f"x{number}" / "d" / f"x{number}").write_text(str(number))
        made.append(where / f"x{number}")
    return made


def plan_of(tmp_path: Path, layers: list[Path], name: str) -> RootPlan:
    lowers = ":".join(str(path) for path in reversed(layers))
    room = Room(LayerCache(tmp_path / "cache"), tmp_path / "templates", name, "c0", tmp_path, ROOTFS)
    mounts = [SnapshotMount("overlay", "overlay", (f"lowerdir={lowers}", "upperdir=/u", "workdir=/w"))]
    return root_of_snapshot(room, mounts, 64 * MIB)


@pytest.mark.parametrize("extra", [0, 97])
def test_a_container_sees_what_an_overlay_of_the_layers_would_show(
    starts: Launcher, tmp_path: Path, extra: int
) -> None:
    plan = plan_of(tmp_path, snapshots(tmp_path / "l", extra), "pod")
    assert len(plan.disks) == 2
    vm = starts.start(request(f"root{extra}"))
    try:
        with session(vm) as channel:
            guest = GuestSession(cast(Any, None), channel)
            begun = time.monotonic()
            lay(vm, channel, plan)
            print(f"{3 + extra} layers laid in {time.monotonic() - begun:.3f} s (accel=tcg)")  # noqa: T201
            found = guest.run(["sh", "-c", "ls /d /o; cat /d/kept /o/shown; stat -c %a /tmp"])
            extras = [f"x{number}" for number in range(extra)]
            listing = ["/d:", *sorted(["kept", "new", *extras]), "", "/o:", "shown", "keptshown1777"]
            assert (found.code, found.stdout.decode().split("\n")[:-1]) == (0, listing)
            script = "echo mine > /d/kept && dd if=/dev/zero of=/fill bs=1M count=100; cat /d/kept"
            wrote = guest.run(["sh", "-c", script])
            assert b"No space left" in wrote.stderr
            assert wrote.stdout.startswith(b"mine\n")
    finally:
        vm.close()
    (upper,) = plan.private
    assert upper.stat().st_size == 64 * MIB
    LayerCache(tmp_path / "cache").verify(plan.disks[0].files[1].parent.name)


def test_volumes_are_where_containers_expect_them(starts: Launcher, tmp_path: Path) -> None:
    root = plan_of(tmp_path, snapshots(tmp_path / "l"), "pod")
    create(tmp_path / "block.img", 32 * MIB, tmp_path / "templates")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/key").write_text("value")
    wanted = [
        f"block:{tmp_path}/block.img:/block",
        "tmpfs:/memory:1M",
        "disk:32M:/disk:gid=7",
        f"config:{tmp_path}/conf:/conf",
    ]
    parsed = [parse(text, number) for number, text in enumerate(wanted)]
    plans = [plan_volume(item.volume, number, tmp_path) for number, item in enumerate(parsed)]
    vm = starts.start(request("volumes"))
    try:
        with session(vm) as channel:
            guest = GuestSession(cast(Any, None), channel)
            lay(vm, channel, root)
            binds = []
            for number, (item, plan) in enumerate(zip(parsed, plans, strict=True)):
                if plan.new_disk:
                    create(plan.new_disk[0], plan.new_disk[1], tmp_path / "templates", folders=(DISK_FOLDER,))
                for disk in plan.disks:
                    attach(vm, disk)
                for step in plan.mounts:
                    mount(channel, step)
                if plan.copy:
                    guest.put(plan.copy.target, b"".join(read(plan.copy.directory).archive()), atomic=True)
                made = bind(item.mount, plan, "c0", number)
                mount(channel, made.mount)
                binds.append(made)
            for made in binds:
                place = f"{ROOTFS}{made.oci['destination']}"  # the product leaves this to crun
                mount(channel, made.mount._replace(target=place, source=made.mount.target, sub_path=""))
            script = (
                "cat /conf/key; echo 1 > /disk/f && cat /disk/f; ls /disk; ls /block;"
                "dd if=/dev/zero of=/memory/f bs=1M count=2; stat -c %g /disk/f; echo x > /conf/key"
            )
            found = guest.run(["sh", "-c", script])
            assert found.stdout.decode().split() == ["value1", "f", "lost+found", "upper", "work", "7"]
            assert b"No space left" in found.stderr
            assert b"Read-only" in found.stderr
    finally:
        vm.close()


def test_a_throttled_disk_is_as_slow_as_it_was_told(starts: Launcher, tmp_path: Path) -> None:
    create(tmp_path / "disk", 32 * MIB, tmp_path / "templates", folders=(DISK_FOLDER,))
    volume = Volume("v", VolumeKind.BLOCK, str(tmp_path / "disk"), io=Io(write_bytes_per_second=2 * MIB))
    plan = plan_volume(volume, 0, tmp_path)
    root = plan_of(tmp_path, snapshots(tmp_path / "l"), "pod")
    vm = starts.start(request("slow"))
    try:
        with session(vm) as channel:
            guest = GuestSession(cast(Any, None), channel)
            lay(vm, channel, root)
            attach(vm, plan.disks[0])
            mount(channel, plan.mounts[0]._replace(target=f"{ROOTFS}/o"))
            begun = time.monotonic()
            done = guest.run(["sh", "-c", "dd if=/dev/zero of=/o/f bs=1M count=12 && sync"])
            assert done.code == 0
            assert time.monotonic() - begun > 3  # 12 MiB at 2 MiB/s, less what QEMU lets through at first
    finally:
        vm.close()
