"""Disks that come and go while the guest runs: virtio-scsi, files by descriptor, limits by throttle group.

Everything that one disk needs is asked for in one round trip; the guest sees it some 10 ms later (the first one of a
restored guest under emulation: 0.1 to 0.3 s, its kernel's code is translated then).
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from sandbox_runtime.errors import BadInput, QmpFailed
from sandbox_runtime.model import Io
from sandbox_runtime.rootfs.join import descriptor
from sandbox_runtime.vmm import devices
from sandbox_runtime.vmm.qmp import Qmp

FIRST_TARGET, LAST_TARGET = 1, 255
FIRST_SET = 100  # numbers of descriptor sets, above the fixed ones of a machine
DETACH_SECONDS = 10.0
SERIAL_BYTES = 36  # QEMU's limit of a scsi-hd serial (hw/scsi/scsi-disk.c)
NAME = re.compile(
    r"[A-Za-z][A-Za-z0-9_.-]{0,26}"
)  # with the `d-` before it, below the 31 bytes of a node's name
UNLIMITED = Io()
COUNTERS = ("rd_bytes", "wr_bytes", "rd_operations", "wr_operations")


class Disk(NamedTuple):
    """A plugged disk; the guest finds it by `serial`."""

    id: str
    serial: str
    target: int
    fd_set: int
    throttled: bool


class Step(NamedTuple):
    """One command of an attachment, and the one that takes it back."""

    number: int
    name: str
    undo: str
    undo_arguments: dict[str, object]


class Disks:
    """The disks of one machine, by id."""

    def __init__(self, monitor: Qmp) -> None:
        self._qmp = monitor
        self._next_set = FIRST_SET
        self.plugged: dict[str, Disk] = {}

    def attach(
        self,
        disk_id: str,
        fd: int,
        serial: str,
        read_only: bool = False,
        io: Io = UNLIMITED,
        direct: bool = False,
    ) -> Disk:
        """Plug in the image or block device behind `fd`; the caller closes its own. QmpFailed leaves no part of it.

        `fd` must be open for just what the disk does: reading, or reading and writing. `direct` wants O_DIRECT on
        it. `disk_id` is one of ours (letters, digits, `-`, `_`, `.`); `serial` has at most 36 bytes.
        """
        self._check(disk_id, fd, serial, read_only, direct)
        self._next_set += 1
        disk = Disk(disk_id, serial, self._free_target(), self._next_set, any(io))
        steps = self._ask(disk, fd, read_only, io, direct)
        done, failure = [], None
        for step in steps:
            try:
                self._qmp.answer(step.number, step.name)
                done.append(step)
            except QmpFailed as error:  # what follows fails too, as it stands on this one
                failure = failure or error
        if failure is not None:
            self._take_back(done)
            raise failure
        self.plugged[disk_id] = disk
        return disk

    def attach_joined(self, disk_id: str, fds: Sequence[int], serial: str) -> Disk:
        """Plug in several read-only images as one disk, in this order (`rootfs.join`); the caller closes its own.

        QEMU opens the parts by the description in a memfd, and those are descriptors that it was given, not paths.
        """
        self._check(disk_id, fds[0], serial, True, False)
        first = self._next_set + 1
        self._next_set += len(fds) + 1
        for number, fd in enumerate(fds):
            self._qmp.answer(self._qmp.send_fd(fd, first + number), "add-fd")
        sizes = [(f"/dev/fdset/{first + number}", os.fstat(fd).st_size) for number, fd in enumerate(fds)]
        description = os.memfd_create("bulkhead-joined", os.MFD_CLOEXEC)
        try:
            os.write(description, descriptor(sizes).encode())
            with open(f"/proc/self/fd/{description}", "rb") as readable:  # noqa: PTH123 - a descriptor
                self._qmp.answer(self._qmp.send_fd(readable.fileno(), self._next_set), "add-fd")
        finally:
            os.close(description)
        node = devices.joined_node(disk_id, f"/dev/fdset/{self._next_set}")
        self._qmp.answer(self._qmp.send("blockdev-add", node.fields), "blockdev-add")
        disk = Disk(disk_id, serial, self._free_target(), self._next_set, False)
        plug = devices.scsi_disk(_plug(disk_id), disk_id, serial, disk.target)
        self._qmp.answer(self._qmp.send("device_add", plug.json()), "device_add")
        self.plugged[disk_id] = disk
        return disk

    def detach(self, disk_id: str) -> None:
        """Unplug; waits until the guest has let go of it."""
        disk = self.plugged[disk_id]
        self._qmp.command("device_del", id=_plug(disk_id))
        self._qmp.wait_event(frozenset({"DEVICE_DELETED"}), DETACH_SECONDS, device=_plug(disk_id))
        self._qmp.command("blockdev-del", node_name=disk_id)
        if disk.throttled:
            self._qmp.command("object-del", id=_group(disk_id))
        self._qmp.command("remove-fd", fdset_id=disk.fd_set)
        del self.plugged[disk_id]

    def throttle(self, disk_id: str, io: Io) -> None:
        """Change the limits of a disk that was attached with some."""
        limits = devices.throttle_limits(io)
        self._qmp.command("qom-set", path=f"/objects/{_group(disk_id)}", property="limits", value=limits)

    def statistics(self) -> dict[str, dict[str, int]]:
        """Disk -> counters since it was plugged in: bytes and operations, read (`rd_`) and written (`wr_`)."""
        found = {}
        for entry in self._qmp.command("query-blockstats"):
            parts = PurePosixPath(str(entry.get("qdev", ""))).parts
            disk = next((name for name in self.plugged if _plug(name) in parts), None)
            if disk is not None:
                stats = entry.get("stats", {})
                found[disk] = {key: int(stats.get(key, 0)) for key in COUNTERS}
        return found

    def _ask(self, disk: Disk, fd: int, read_only: bool, io: Io, direct: bool) -> list[Step]:
        group = _group(disk.id) if disk.throttled else ""
        ask = self._qmp.send
        steps = [Step(self._qmp.send_fd(fd, disk.fd_set), "add-fd", "remove-fd", {"fdset-id": disk.fd_set})]
        if group:
            number = ask("object-add", devices.throttle_group(group, io).json())
            steps.append(Step(number, "object-add", "object-del", {"id": group}))
        node = devices.image_node(disk.id, f"/dev/fdset/{disk.fd_set}", read_only, group, direct)
        steps.append(
            Step(ask("blockdev-add", node.fields), "blockdev-add", "blockdev-del", {"node-name": disk.id})
        )
        plug = devices.scsi_disk(_plug(disk.id), disk.id, disk.serial, disk.target)
        steps.append(Step(ask("device_add", plug.json()), "device_add", "device_del", {"id": _plug(disk.id)}))
        return steps

    def _take_back(self, done: list[Step]) -> None:
        for step in reversed(done):
            self._qmp.answer(self._qmp.send(step.undo, step.undo_arguments), step.undo)

    def _check(self, disk_id: str, fd: int, serial: str, read_only: bool, direct: bool) -> None:
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        if disk_id in self.plugged or not NAME.fullmatch(disk_id):
            raise BadInput(f"{disk_id!r} is taken, or no name for a disk")
        if not serial or len(serial.encode()) > SERIAL_BYTES or not serial.isprintable():
            raise BadInput(f"{serial!r} is no serial of 1 to {SERIAL_BYTES} printable bytes")
        if flags & os.O_ACCMODE != (os.O_RDONLY if read_only else os.O_RDWR):
            raise BadInput(
                f"disk {disk_id}: its file must be open for {'reading' if read_only else 'both ways'}"
            )
        if bool(flags & os.O_DIRECT) != direct:
            raise BadInput(f"disk {disk_id}: direct is {direct}, the file's O_DIRECT is not")

    def _free_target(self) -> int:
        taken = {disk.target for disk in self.plugged.values()}
        free = [target for target in range(FIRST_TARGET, LAST_TARGET + 1) if target not in taken]
        if not free:
            raise BadInput(f"{len(taken)} disks are plugged in already")
        return free[0]


def _plug(disk_id: str) -> str:
    return f"d-{disk_id}"


def _group(disk_id: str) -> str:
    return f"t-{disk_id}"
