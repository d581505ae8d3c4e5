"""Opens the files of a disk and plugs it in."""

from __future__ import annotations

import os
from pathlib import Path

from sandbox_runtime.errors import StorageFailed
from sandbox_runtime.rootfs.plan import Disk
from sandbox_runtime.vmm.joined import attach_joined
from sandbox_runtime.vmm.vm import Vm


def attach(vm: Vm, disk: Disk) -> None:
    """Plug `disk` into `vm`; the guest finds it by its name. StorageFailed, QmpFailed."""
    if len(disk.files) > 1:
        _attach_joined(vm, disk)
        return
    fd, direct = open_disk(disk.files[0], disk.read_only, not disk.shared)
    try:
        vm.disks.attach(disk.name, fd, disk.name, disk.read_only, disk.io, direct)
    finally:
        os.close(fd)


def _attach_joined(vm: Vm, disk: Disk) -> None:
    fds = [open_disk(path, True, False)[0] for path in disk.files]
    try:
        attach_joined(vm.disks, disk.name, fds, disk.name)
    finally:
        for fd in fds:
            os.close(fd)


def open_disk(path: Path, read_only: bool, direct: bool) -> tuple[int, bool]:
    """The open file, and whether it goes around the page cache: not every file system can (O_DIRECT, open(2))."""
    flags = (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC
    try:
        if direct:
            try:
                return os.open(path, flags | os.O_DIRECT), True
            except OSError:  # EINVAL of the file system; another reason comes again below
                pass
        return os.open(path, flags), False
    except OSError as error:
        raise StorageFailed(f"{path}: {error.strerror}") from error
