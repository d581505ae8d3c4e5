"""Everything QEMU is told, as typed values, and the one place that turns them into its syntax. Pure.

Two syntaxes. Devices, objects and block nodes are JSON, the same on the command line as over QMP, so that no value
can leave its field. What QEMU takes only as `key=value,...` doubles every comma (docs/system/invocation); `field` is
the one that writes it and refuses what a path or name cannot hold. Tenant text never becomes an option's name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from sandbox_runtime.errors import BadInput
from sandbox_runtime.model import AccelKind, Io

Json: TypeAlias = bool | int | str | list["Json"] | dict[str, "Json"] | None
Fields: TypeAlias = dict[str, Json]


class Part(Protocol):
    """Anything that becomes arguments of the command line."""

    def argv(self) -> list[str]:
        """The arguments, in order."""
        ...


def argv(parts: Iterable[Part]) -> list[str]:
    """The command line of a machine, without the program itself."""
    return [word for part in parts for word in part.argv()]


def field(value: str | int | bool) -> str:
    """One value of a `key=value,...` option. BadInput where it holds control characters, which no such value needs."""
    if isinstance(value, bool):
        return "on" if value else "off"
    text = str(value)
    if not text.isprintable():
        raise BadInput(f"{text!r} holds unprintable characters and cannot be passed to the VMM")
    return text.replace(",", ",,")


def option(name: str, first: str, fields: dict[str, str | int | bool]) -> list[str]:
    """`-name first,key=value,...`; `first` is one of ours, never a tenant's."""
    pairs = [f"{key}={field(value)}" for key, value in fields.items()]
    return [f"-{name}", ",".join([first, *pairs] if first else pairs)]


def as_json(name: str, fields: Fields) -> list[str]:
    """`-name {...}`; ASCII, so that the locale of the VMM does not matter."""
    return [f"-{name}", json.dumps(fields, separators=(",", ":"))]


class Machine(NamedTuple):
    """The machine itself. Where `acpi` is off the kernel finds its devices on the command line that QEMU writes."""

    memory: str
    acpi: bool = True
    serial: bool = False

    def argv(self) -> list[str]:
        """`-M microvm,...`; clock, timers and interrupt controller as the stock kernels calibrate by them."""
        switches: dict[str, str | int | bool] = {
            "x-option-roms": False,
            "acpi": self.acpi,
            "rtc": True,
            "pit": True,
            "pic": True,
            "isa-serial": self.serial,
            "memory-backend": self.memory,
        }
        return option("machine", "microvm", switches)


class Accelerator(NamedTuple):
    """What executes the guest. `code_mib` bounds the translated code of an emulator, which is memory of the host.

    The start of a container makes some 40 MiB of it; bounded to 24 that takes the same CPU time, to 16 a sixth more,
    and a shell that forks a third more.
    """

    kind: AccelKind
    code_mib: int = 24

    def argv(self) -> list[str]:
        """KVM with the host's CPU; the emulator with its default model, which is the fastest it has."""
        if self.kind is AccelKind.KVM:
            return ["-accel", "kvm", "-cpu", "host"]
        return option("accel", "tcg", {"tb-size": self.code_mib})


class Size(NamedTuple):
    """Memory and processors."""

    memory_bytes: int
    vcpus: int

    def argv(self) -> list[str]:
        """Sizes in bytes, with no suffix: QEMU's default unit of `-m` is MiB."""
        return [*option("m", "", {"size": f"{self.memory_bytes}B"}), *option("smp", "", {"cpus": self.vcpus})]


class FileMemory(NamedTuple):
    """Guest memory that is a file: `share` writes to it, otherwise pages are copied when they are written."""

    id: str
    size_bytes: int
    path: str
    share: bool

    def argv(self) -> list[str]:
        """A file backend; kept out of core dumps, they would hold the tenant's data."""
        backend: Fields = {"qom-type": "memory-backend-file", "id": self.id, "size": self.size_bytes}
        return as_json("object", backend | {"mem-path": self.path, "share": self.share, "dump": False})


class AnonymousMemory(NamedTuple):
    """Guest memory of this VM alone. Shared mappings are for a vhost-user process that must see it too."""

    id: str
    size_bytes: int
    share: bool = False

    def argv(self) -> list[str]:
        """A memfd where it is shared, plain anonymous memory otherwise."""
        kind = "memory-backend-memfd" if self.share else "memory-backend-ram"
        backend: Fields = {"qom-type": kind, "id": self.id, "size": self.size_bytes}
        return as_json("object", backend | {"share": self.share, "dump": False})


class Kernel(NamedTuple):
    """What boots. A restored machine needs none: its kernel is in its memory."""

    path: str
    initrd: str
    cmdline: str

    def argv(self) -> list[str]:
        """Three options of one value each: no commas to double."""
        if not self.cmdline.isprintable():
            raise BadInput(f"kernel command line {self.cmdline!r} holds unprintable characters")
        initrd = ["-initrd", self.initrd] if self.initrd else []
        return ["-kernel", self.path, *initrd, "-append", self.cmdline]


class ListeningSocket(NamedTuple):
    """A character device on a unix socket that listens already and is passed as `fd`."""

    id: str
    fd: int

    def argv(self) -> list[str]:
        """Does not wait for the other side."""
        return option("chardev", "socket", {"id": self.id, "fd": self.fd, "server": True, "wait": False})


class ConnectedSocket(NamedTuple):
    """A character device on a connected unix socket that is passed as `fd`: the way to a vhost-user process."""

    id: str
    fd: int

    def argv(self) -> list[str]:
        """QEMU is the client."""
        return option("chardev", "socket", {"id": self.id, "fd": self.fd})


class RingBuffer(NamedTuple):
    """A character device that keeps the last `size_bytes` (a power of two) written to it, for `ringbuf-read`."""

    id: str
    size_bytes: int

    def argv(self) -> list[str]:
        """Bounded, whatever the guest prints."""
        return option("chardev", "ringbuf", {"id": self.id, "size": self.size_bytes})


class Monitor(NamedTuple):
    """QMP on a character device."""

    chardev: str

    def argv(self) -> list[str]:
        """Control mode is JSON; the human monitor is never opened."""
        return option("mon", "", {"chardev": self.chardev, "mode": "control"})


class Console(NamedTuple):
    """The guest's first serial port."""

    chardev: str

    def argv(self) -> list[str]:
        """Only by name of a character device."""
        return ["-serial", f"chardev:{field(self.chardev)}"]


class Device(NamedTuple):
    """A device of `driver`; `fields` are its properties. The functions below make the ones that we use."""

    driver: str
    id: str
    fields: Fields

    def json(self) -> Fields:
        """The argument of `device_add`."""
        return {"driver": self.driver, "id": self.id, **self.fields}

    def argv(self) -> list[str]:
        """`-device {...}`."""
        return as_json("device", self.json())


class Object(NamedTuple):
    """A backend object that is no memory."""

    kind: str
    id: str
    fields: Fields

    def json(self) -> Fields:
        """The argument of `object-add`."""
        return {"qom-type": self.kind, "id": self.id, **self.fields}

    def argv(self) -> list[str]:
        """`-object {...}`."""
        return as_json("object", self.json())


class BlockNode(NamedTuple):
    """A named node of QEMU's block layer, its children inside."""

    fields: Fields

    def argv(self) -> list[str]:
        """`-blockdev {...}`."""
        return as_json("blockdev", self.fields)


class TapBackend(NamedTuple):
    """The host's end of a network card: an open tap."""

    id: str
    fd: int

    def argv(self) -> list[str]:
        """The descriptor has its flags already (IFF_VNET_HDR is read from it)."""
        return option("netdev", "tap", {"id": self.id, "fd": self.fd})


class Restore(NamedTuple):
    """Wait for `migrate-incoming`: whether memory is in the stream can be said over the monitor only."""

    def argv(self) -> list[str]:
        """Nothing runs before the state is there."""
        return ["-incoming", "defer"]


class Confined(NamedTuple):
    """What is always said: nothing by default, no display, no reboot, no system call that a VMM has no use for.

    A guest that ends leaves QEMU paused, so that its last words can be read before QEMU is ended too.
    """

    def argv(self) -> list[str]:
        """`obsolete`, `elevateprivileges`, `spawn` and `resourcecontrol` as in docs/system/security."""
        deny: dict[str, str | int | bool] = dict.fromkeys(
            ("obsolete", "elevateprivileges", "spawn", "resourcecontrol"), "deny"
        )
        bare = ["-nodefaults", "-no-user-config", "-display", "none"]
        ends = option("action", "", {"reboot": "shutdown", "shutdown": "pause"})
        modern = ["-global", "virtio-mmio.force-legacy=false"]
        return [*bare, *modern, *ends, *option("sandbox", "on", deny)]


def virtio_serial() -> Device:
    """The bus of serial ports."""
    return Device("virtio-serial-device", "serial", {"max_ports": 4})


def agent_port(chardev: str) -> Device:
    """The port that the guest finds as /dev/virtio-ports/bulkhead.agent."""
    return Device(
        "virtserialport", "agent", {"bus": "serial.0", "chardev": chardev, "name": "bulkhead.agent"}
    )


def scsi_controller() -> Device:
    """Where disks come and go while the guest runs: virtio-mmio itself has no hotplug."""
    return Device("virtio-scsi-device", "scsi", {"num_queues": 1})


def balloon() -> Device:
    """Memory that the guest gives back; it hands free pages to the host without being asked.

    What it finds in such a page later is no promise: nothing, or what the template has there. A kernel that counts on
    what it left in free pages (`init_on_free`, page poisoning) does not report where it cannot say so (Linux,
    virtballoon_validate), and `page-poison` is how it would.
    """
    fields: Fields = {"deflate-on-oom": True, "free-page-reporting": True, "page-poison": False}
    return Device("virtio-balloon-device", "balloon", fields)


def rng() -> Sequence[Part]:
    """A source of entropy that needs no device of the host."""
    return Object("rng-builtin", "entropy", {}), Device("virtio-rng-device", "rng", {"rng": "entropy"})


def nic(mac: str) -> Device:
    """A virtio network card on the backend `net`."""
    return Device("virtio-net-device", "nic", {"netdev": "net", "mac": mac})


def shared_directory(number: int, tag: str) -> Device:
    """A host directory that a virtiofsd on the character device `fs<number>` serves; mounted in the guest by `tag`."""
    return Device("vhost-user-fs-device", f"share{number}", {"chardev": f"fs{number}", "tag": tag})


def fixed_disk(disk: str, node: str, serial: str = "") -> Device:
    """A disk that is there from the start."""
    return Device("virtio-blk-device", disk, {"drive": node, "serial": serial})


def scsi_disk(disk: str, node: str, serial: str, address: int) -> Device:
    """A disk that is plugged in; the guest knows it by `serial`. `address` is the SCSI target, 0 to 255."""
    where: Fields = {"bus": "scsi.0", "scsi-id": address, "lun": 0}
    solid: Fields = {
        "rotation_rate": 1
    }  # SBC: a medium that does not rotate; the guest then schedules nothing
    return Device("scsi-hd", disk, where | solid | {"drive": node, "serial": serial, "device_id": serial})


def throttle_group(name: str, io: Io) -> Object:
    """A group with the limits of one or more disks."""
    return Object("throttle-group", name, {"limits": throttle_limits(io)})


def throttle_limits(io: Io) -> Fields:
    """All four limits; 0 is none, for QEMU too."""
    return {
        "iops-read": io.read_iops,
        "iops-write": io.write_iops,
        "bps-read": io.read_bytes_per_second,
        "bps-write": io.write_bytes_per_second,
    }


def joined_node(name: str, path: str) -> BlockNode:
    """Read-only images behind a flat vmdk description at `path`; what it names are the parts."""
    file: Fields = {"driver": "file", "filename": path, "read-only": True, "node-name": f"{name}.d"}
    return BlockNode({"driver": "vmdk", "node-name": name, "read-only": True, "file": file})


def image_node(name: str, path: str, read_only: bool, group: str = "", direct: bool = False) -> BlockNode:
    """A raw image or device, optionally behind a throttle group; `path` is usually `/dev/fdset/<n>`.

    `direct` bypasses the host's page cache. Discards reach the file of a writable disk, so that a sparse image
    shrinks again. The node that a disk is attached to is called `name`; a lower one gets a name of its own.
    """
    cache: Fields = {"direct": direct, "no-flush": False}
    file: Fields = {
        "driver": "file",
        "filename": path,
        "cache": cache,
        "read-only": read_only,
        "discard": "unmap",
    }
    file["node-name"] = f"{name}.f" if group else name
    if not group:
        return BlockNode(file)
    return BlockNode({"driver": "throttle", "node-name": name, "throttle-group": group, "file": file})
