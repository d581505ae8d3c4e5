"""The words of the runtime: what a sandbox is made of. Values only; sizes in bytes, CPU in thousandths of a core.

`SandboxSpec` is what every front end (command, shim) turns its input into; `GuestImage` is what `guest` builds and
`vmm` boots; `Accel` is the verdict on the host, carried by every status, metric and report.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

MIB = 1 << 20


class AccelKind(StrEnum):
    """What executes guest code. Emulation is no security boundary (QEMU, docs/system/security.rst)."""

    KVM = "kvm"
    TCG = "tcg"


class Accel(NamedTuple):
    """The verdict on how this host can run a guest.

    Attributes:
        kind: what a sandbox started now would run on.
        usable: whether KVM runs guest code as hardware would; False leaves emulation only.
        why: the observation behind it, for people.
    """

    kind: AccelKind
    usable: bool
    why: str


class Limits(NamedTuple):
    """What the whole sandbox may use; 0 states no limit.

    Attributes:
        cpu_milli: thousandths of a core, the sum over the containers.
        memory_bytes: the sum over the containers, without overhead.
    """

    cpu_milli: int = 0
    memory_bytes: int = 0


class Io(NamedTuple):
    """Limits of one disk; 0 states none."""

    read_iops: int = 0
    write_iops: int = 0
    read_bytes_per_second: int = 0
    write_bytes_per_second: int = 0


class VolumeKind(StrEnum):
    """How a volume reaches the guest."""

    BLOCK = "block"  # a device or image file, attached as a disk and mounted by the guest
    DISK = "disk"  # an empty disk of a stated size, gone with the sandbox
    TMPFS = "tmpfs"  # guest memory
    NFS = "nfs"  # mounted by the guest's own kernel
    VIRTIOFS = "virtiofs"  # a host directory
    COPY = "copy"  # ConfigMap, Secret, projected: small files, copied in and kept current


class Volume(NamedTuple):
    """One volume of a sandbox.

    Attributes:
        name: unique in the sandbox.
        kind: see `VolumeKind`.
        source: path on the host (block, virtiofs, copy), `server:/path` (nfs), empty otherwise.
        size_bytes: of tmpfs and disk; 0 elsewhere.
        fstype: file system of a block volume; empty lets the guest look.
        options: mount options, passed to the guest's mount one by one.
        fs_group: gid that the volume is given to; -1 leaves it.
    """

    name: str
    kind: VolumeKind
    source: str = ""
    size_bytes: int = 0
    fstype: str = ""
    options: tuple[str, ...] = ()
    read_only: bool = False
    fs_group: int = -1
    io: Io = Io()


class Mount(NamedTuple):
    """Where a container sees a volume; `sub_path` is relative to the volume and never leaves it."""

    volume: str
    path: str
    sub_path: str = ""
    read_only: bool = False


class ContainerSpec(NamedTuple):
    """One container.

    Attributes:
        id: unique in the sandbox.
        argv: what runs; empty means what the image says.
        env: `NAME=value` lines, added to those of the image.
        cwd: working directory; empty means that of the image.
        user: `uid[:gid]` or names of the image; empty means that of the image.
        image: path of an OCI archive, layout or directory; where it is empty, the front end passes mounts of its own.
        stdin: whether somebody may write to it; otherwise it reads /dev/null.
        limits: of this container's cgroup in the guest.
        rootfs_bytes: size of the writable layer.
    """

    id: str
    argv: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = ""
    user: str = ""
    image: str = ""
    tty: bool = False
    stdin: bool = False
    read_only: bool = False
    limits: Limits = Limits()
    rootfs_bytes: int = 1 << 30
    rootfs_io: Io = Io()
    mounts: tuple[Mount, ...] = ()
    oci: Mapping[str, object] = {}


class NetKind(StrEnum):
    """How the guest is connected."""

    NONE = "none"
    TAP = "tap"


class Nic(NamedTuple):
    """The guest's network card: addresses as the CNI gave them (`address` with prefix length), `tap` on the host."""

    kind: NetKind = NetKind.NONE
    tap: str = ""
    mac: str = ""
    addresses: tuple[str, ...] = ()
    gateway: str = ""
    mtu: int = 1500


class SandboxSpec(NamedTuple):
    """One sandbox: a virtual machine and the containers in it.

    Attributes:
        id: names directories, cgroups and sockets; see `paths.check_id`.
        limits: of the whole; `vmm.sizing` turns them into vCPUs and memory.
        cgroup: path below each controller (v1) or the one tree (v2); empty leaves processes where they are.
        overhead_bytes: what the RuntimeClass declares on top of `limits.memory_bytes`.
        allow_emulation: start without usable KVM, for tests: then there is no wall.
    """

    id: str
    hostname: str = ""
    limits: Limits = Limits()
    containers: tuple[ContainerSpec, ...] = ()
    volumes: tuple[Volume, ...] = ()
    nic: Nic = Nic()
    cgroup: str = ""
    overhead_bytes: int = 0
    allow_emulation: bool = False


class GuestImage(NamedTuple):
    """What boots.

    Attributes:
        kernel: bzImage, or ELF vmlinux with a PVH note.
        initrd: initial ramdisk, where the kernel needs one.
        image: read-only root of the guest, attached as its first disk; None where the ramdisk holds everything.
        cmdline: what this image needs on the kernel command line; the VMM adds what the host needs.
        digest: names the content of all three and the command line.
    """

    kernel: Path
    initrd: Path | None
    image: Path | None
    cmdline: str
    digest: str


class Refused(NamedTuple):
    """A sandbox that is not started, with the numbers that decided.

    Attributes:
        reason: stable code, e.g. `memory-exceeds-cgroup`.
        why: for people.
        numbers: name -> value, bytes or counts as named.
    """

    reason: str
    why: str
    numbers: tuple[tuple[str, int], ...] = ()
