"""The one machine that we start, in its three forms: booted, booted to become a template, restored. Pure.

Everything that decides what a template is stands in `Shape` and in the arguments made here: same shape, same device
list in the same order, same descriptor numbers. Files reach QEMU as descriptors at fixed numbers, never as paths.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from sandbox_runtime.guest.cmdline import emulation
from sandbox_runtime.model import AccelKind, GuestImage
from sandbox_runtime.vmm import devices
from sandbox_runtime.vmm.devices import Part

CONSOLE_BYTES = 64 << 10  # a power of two; the guest cannot make it grow
NEUTRAL_MAC = "02:00:00:00:00:01"  # of a template; the agent sets the real one
LAYOUT = 2  # raised whenever the device list below changes


FIRST_SHARE = 32  # descriptors of the sockets of virtiofsd


class Fd(IntEnum):
    """Where a passed descriptor is found in QEMU."""

    QMP = 10
    AGENT = 11
    KERNEL = 12
    INITRD = 13
    IMAGE = 14
    MEMORY = 15
    STATE = 16
    TAP = 17

    @property
    def path(self) -> str:
        """Opens the same file again: for QEMU options that want a path."""
        return f"/proc/self/fd/{self.value}"


class Shape(NamedTuple):
    """What two machines must share for one to be restored from the other.

    Attributes:
        accel: what executes it.
        vcpus: processors.
        memory_bytes: all of the guest's memory.
        guest: digest of kernel, ramdisk, image and the image's own command line.
        initrd: whether there is a ramdisk.
        image: whether there is a disk with the guest's root.
        acpi: whether the kernel finds its devices by ACPI; otherwise QEMU writes them on the command line.
        nic: whether there is a network card.
        cmdline: all of the kernel command line.
    """

    accel: AccelKind
    vcpus: int
    memory_bytes: int
    guest: str
    initrd: bool
    image: bool
    acpi: bool
    nic: bool
    cmdline: str


def shape_of(
    guest: GuestImage, accel: AccelKind, vcpus: int, memory_bytes: int, nic: bool, tsc_khz: int
) -> Shape:
    """The shape of a machine for `guest` on a host whose time stamp counter runs at `tsc_khz`."""
    initrd, image = guest.initrd is not None, guest.image is not None
    acpi = "acpi=off" not in guest.cmdline.split()
    cmdline = kernel_cmdline(guest.cmdline, accel, tsc_khz)
    return Shape(accel, vcpus, memory_bytes, guest.digest, initrd, image, acpi, nic, cmdline)


def kernel_cmdline(of_the_image: str, accel: AccelKind, tsc_khz: int) -> str:
    """What the image wants, and what this VMM needs.

    Console output goes to a bounded buffer, for the last words of a kernel that dies.
    """
    words = ["console=ttyS0", of_the_image.strip()]
    if accel is AccelKind.TCG:
        words.append(emulation(tsc_khz))
    return " ".join(word for word in words if word)


def booted(shape: Shape) -> list[str]:
    """Boot with memory of its own."""
    return _argv(shape, devices.AnonymousMemory("ram", shape.memory_bytes), _kernel(shape))


def shared_booted(shape: Shape, tags: Sequence[str]) -> list[str]:
    """Boot with memory that the virtiofsd behind each of `tags` maps too; their sockets are at FIRST_SHARE and on."""
    shares: list[Part] = []
    for number, tag in enumerate(tags):
        shares.append(devices.ConnectedSocket(f"fs{number}", FIRST_SHARE + number))
        shares.append(devices.shared_directory(number, tag))
    memory = devices.AnonymousMemory("ram", shape.memory_bytes, share=True)
    return _argv(shape, memory, [*shares, *_kernel(shape)])


def template(shape: Shape) -> list[str]:
    """Boot into the memory file that becomes the template; what it frees becomes a hole in it."""
    return _argv(shape, _file(shape, share=True), _kernel(shape))


def restored(shape: Shape) -> list[str]:
    """Wait for a template's memory, which `backing.put` lays over this one, and for its state."""
    return _argv(shape, devices.AnonymousMemory("ram", shape.memory_bytes), [devices.Restore()])


def restored_over_file(shape: Shape) -> list[str]:
    """Wait for the state of a template over its memory file, mapped private by QEMU itself: it gives nothing back."""
    return _argv(shape, _file(shape, share=False), [devices.Restore()])


def digest(shape: Shape, vmm_build: str) -> str:
    """The key of a template: everything that must be equal, VMM build and our own layout included."""
    text = "\0".join([str(LAYOUT), vmm_build, *template(shape), shape.guest])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _argv(shape: Shape, memory: Part, start: Sequence[Part]) -> list[str]:
    parts: list[Part] = [
        devices.Confined(),
        memory,
        devices.Machine("ram", shape.acpi, serial=True),
        devices.Accelerator(shape.accel),
        devices.Size(shape.memory_bytes, shape.vcpus),
        devices.ListeningSocket("qmp", Fd.QMP),
        devices.Monitor("qmp"),
        devices.RingBuffer("console", CONSOLE_BYTES),
        devices.Console("console"),
        devices.virtio_serial(),
        devices.ListeningSocket("agent", Fd.AGENT),
        devices.agent_port("agent"),
        devices.scsi_controller(),
        devices.balloon(),
        *devices.rng(),
    ]
    if shape.image:
        parts += [
            devices.image_node("guest", Fd.IMAGE.path, read_only=True),
            devices.fixed_disk("guest", "guest"),
        ]
    if shape.nic:
        parts += [devices.TapBackend("net", Fd.TAP), devices.nic(NEUTRAL_MAC)]
    return devices.argv([*parts, *start])


def _kernel(shape: Shape) -> list[Part]:
    return [devices.Kernel(Fd.KERNEL.path, Fd.INITRD.path if shape.initrd else "", shape.cmdline)]


def _file(shape: Shape, share: bool) -> Part:
    return devices.FileMemory("ram", shape.memory_bytes, Fd.MEMORY.path, share)
