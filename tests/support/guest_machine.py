"""A guest on a bare QEMU command line, apart from the product's own driver: what the guest's tests boot."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sandbox_runtime.guest.cmdline import emulation
from sandbox_runtime.model import GuestImage

TSC_KHZ = 2_600_000


def command(guest: GuestImage, folder: Path, memory: str, extra: Sequence[str]) -> list[str]:
    """QEMU's arguments; the agent's port is the socket `agent.sock` in `folder`, the console the file `console`."""
    return [
        "qemu-system-x86_64",
        *("-M", "microvm,x-option-roms=off,acpi=on,rtc=on,pit=on,pic=on", "-accel", "tcg", "-m", memory),
        *("-global", "virtio-mmio.force-legacy=false"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-kernel", str(guest.kernel), *(("-initrd", str(guest.initrd)) if guest.initrd else ())),
        *("-append", f"{guest.cmdline} {emulation(TSC_KHZ)} console=ttyS0"),
        *("-serial", f"file:{folder / 'console'}"),
        *("-drive", f"if=none,id=image,file={guest.image},format=raw,read-only=on,file.locking=off"),
        *("-device", "virtio-blk-device,drive=image"),
        *(
            "-device",
            "virtio-serial-device",
            "-chardev",
            f"socket,id=agent,path={folder / 'agent.sock'},server=on,wait=off",
        ),
        *("-device", "virtserialport,chardev=agent,name=bulkhead.agent"),
        *extra,
    ]


class GuestMachine:
    """One running QEMU."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.folder = folder

    def connect(self, limit_s: float = 60) -> socket.socket:
        """A connection to the agent's port; it is there as soon as QEMU is."""
        end = time.monotonic() + limit_s
        while True:
            port = socket.socket(socket.AF_UNIX)
            try:
                port.connect(str(self.folder / "agent.sock"))
            except (FileNotFoundError, ConnectionRefusedError):
                port.close()
                if time.monotonic() > end or self.process.poll() is not None:
                    raise AssertionError(f"QEMU gives no port: {self.console()}") from None
                time.sleep(0.005)
            else:
                return port

    def console(self) -> str:
        """What the kernel printed, for the message of a failed test."""
        path = self.folder / "console"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""


@contextlib.contextmanager
def running(
    guest: GuestImage, folder: Path, memory: str = "256M", extra: Sequence[str] = ()
) -> Iterator[GuestMachine]:
    """Boot, hand out, and leave no process behind."""
    # Paths of sockets are short; pytest's folders are not.
    process = subprocess.Popen(command(guest, folder, memory, extra), start_new_session=True)
    try:
        yield GuestMachine(process, folder)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def missing() -> str:
    """Why no guest can boot here; empty if one can."""
    for program, package in (
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("crun", "crun"),
        ("mkfs.erofs", "erofs-utils"),
    ):
        if shutil.which(program) is None:
            return f"{program} is missing: apt-get install {package}"
    if not list(Path("/boot").glob("vmlinuz-*-cloud-*")):
        return "no cloud kernel: apt-get install linux-image-cloud-amd64"
    return ""
