"""A guest with a host directory over 9p, the way of older sandboxes: measured as a reference, offered to nobody.

The distribution's cloud kernel has no 9p. Its generic kernel has, as modules; the package is unpacked, not installed:

    apt-get download linux-image-6.1.0-N-amd64 && dpkg-deb -x linux-image-*.deb DIRECTORY
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from benchmarks.sandbox.inside import ROOT
from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.guest.kernel import KernelFiles
from sandbox_runtime.rootfs.plan import GuestMount
from sandbox_runtime.vmm.launch import Launcher, Request
from sandbox_runtime.vmm.vm import Vm

TAG = "ninep"
MESSAGE_BYTES = (
    512 << 10
)  # what QEMU advises (docs: 9psetup); the default of 8 KiB would flatter every other way
MOUNT = GuestMount("9p", TAG, f"{ROOT}/{TAG}", ("trans=virtio", "version=9p2000.L", f"msize={MESSAGE_BYTES}"))


class NinepLauncher(Launcher):
    """Its machines are not confined (QEMU opens files of `directory` by name) and have one device more."""

    def __init__(self, plain: Launcher, directory: Path) -> None:
        host = plain.host._replace(root=False)
        super().__init__(plain.paths, host, plain.templates, plain.await_agent)
        self._device = [
            *("-fsdev", f"local,id={TAG},path={directory},security_model=none"),
            *("-device", f"virtio-9p-device,fsdev={TAG},mount_tag={TAG}"),
        ]

    def _spawn(self, request: Request, directory: Path, argv: list[str], *rest: Any, **named: Any) -> Vm:
        return super()._spawn(request, directory, [*argv, *self._device], *rest, **named)


def generic_kernel(unpacked: Path) -> KernelFiles:
    """The kernel in an unpacked package. HostUnfit where there is none with 9p."""
    found = sorted(unpacked.glob("lib/modules/*/kernel/fs/9p/9p.ko*"))
    if not found:
        raise HostUnfit(f"{unpacked}", "no kernel with 9p in it", "see benchmarks/sandbox/ninep.py")
    modules = found[-1].parents[3]
    release = modules.name
    subprocess.run(["/sbin/depmod", "--basedir", str(unpacked), release], check=True)
    return KernelFiles(release, unpacked / f"boot/vmlinuz-{release}", modules)
