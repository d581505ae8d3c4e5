"""One disk made of several read-only files: the layers of an image, each shared with other machines as it is.

QEMU's vmdk driver joins flat extents; a descriptor file names them. It and its extents are passed as descriptors,
as every file is: the VMM sees no path of the host.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from sandbox_runtime.errors import QmpFailed
from sandbox_runtime.rootfs.join import descriptor
from sandbox_runtime.vmm import devices
from sandbox_runtime.vmm.disks import Disk, Disks


def attach_joined(disks: Disks, disk_id: str, fds: Sequence[int], serial: str) -> Disk:
    """Plug in the files behind `fds`, in this order, as one read-only disk; the caller closes its own.

    QmpFailed leaves no part of it. See `Disks.attach` for the names.
    """
    monitor, target, first = disks._qmp, disks._free_target(), disks._next_set + 1
    disks._next_set += len(fds) + 1
    sets = range(first + 1, first + 1 + len(fds))
    extents = [(f"/dev/fdset/{number}", os.fstat(fd).st_size) for number, fd in zip(sets, fds, strict=True)]
    described = _described(descriptor(extents))
    given = []
    try:
        for number, fd in zip([first, *sets], [described, *fds], strict=True):
            monitor.answer(monitor.send_fd(fd, number), "add-fd")
            given.append(number)
        monitor.answer(monitor.send("blockdev-add", _node(disk_id, first)), "blockdev-add")
        plug = devices.scsi_disk(f"d-{disk_id}", disk_id, serial, target)
        try:
            monitor.answer(monitor.send("device_add", plug.json()), "device_add")
        except QmpFailed:
            monitor.command("blockdev-del", node_name=disk_id)
            raise
    except QmpFailed:
        for number in given:
            monitor.command("remove-fd", fdset_id=number)
        raise
    finally:
        os.close(described)
    for number in sets:  # QEMU has opened them; what it holds lasts as long as the node
        monitor.command("remove-fd", fdset_id=number)
    disks.plugged[disk_id] = Disk(disk_id, serial, target, first, throttled=False)
    return disks.plugged[disk_id]


def _node(name: str, number: int) -> dict[str, object]:
    file = {"driver": "file", "filename": f"/dev/fdset/{number}", "read-only": True}
    return {"driver": "vmdk", "node-name": name, "read-only": True, "file": file}


def _described(text: str) -> int:
    """A nameless file, open for reading only, since QEMU looks for a descriptor of just that mode."""
    writable = os.memfd_create("joined", os.MFD_CLOEXEC)
    try:
        os.write(writable, text.encode())
        return os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writable)
