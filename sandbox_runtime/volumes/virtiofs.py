"""Serves a host directory to the guest: the command line of a virtiofsd, and how it is held in.

Two programs of the name exist. The C one came with QEMU up to 7.2 (Debian 12), the Rust one is what everybody else
ships; they speak the same vhost-user protocol and share no option. Both get a listening socket as a descriptor,
serve one connection, see nothing but the directory (mount, pid and network namespace, pivot_root), and end with it.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.volumes import serve
from sandbox_runtime.volumes.plan import Share, ShareOwner

PLACES = ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/lib/virtiofsd", "/usr/bin/virtiofsd")
# What a file server needs of root's powers; without CAP_SYS_ADMIN, CAP_MKNOD and CAP_SETFCAP.
_WITHOUT = "-sys_admin:-mknod:-setfcap"


class Dialect(StrEnum):
    """Which of the two programs it is."""

    C = "c"
    RUST = "rust"


class Program(NamedTuple):
    """An installed virtiofsd."""

    path: str
    dialect: Dialect


@functools.cache
def find(places: Sequence[str] = PLACES) -> Program:
    """The first that is installed. Raises HostUnfit where there is none."""
    import subprocess  # memory of every sandbox, for those with shared directories

    for path in places:
        if os.access(path, os.X_OK):
            said = subprocess.run([path, "--help"], capture_output=True, check=False, timeout=10)
            return Program(path, Dialect.RUST if b"--shared-dir" in said.stdout + said.stderr else Dialect.C)
    raise HostUnfit(
        "virtiofsd",
        "a directory of the host is to be shared",
        "install virtiofsd, or qemu-system-common of Debian 12",
    )


def argv(program: Program, share: Share, socket_fd: int, uid: int) -> list[str]:
    """The command line that serves `share` on a listening socket. Pure.

    Args:
        program: what `find` found.
        share: what is served, and as whom.
        socket_fd: number of the descriptor in the new process.
        uid: the sandbox's user. `serve`, which goes before the program, becomes that user and the root of a user
            namespace: enough for the program's own sandbox, and on the host still nobody. It is started as the
            caller, since it has to mount.
    """
    words = _rust(share, socket_fd) if program.dialect is Dialect.RUST else _c(share, socket_fd)
    access = "ro" if share.read_only else "rw"
    owner = 0 if share.owner is ShareOwner.ROOT else uid
    before = [sys.executable, "-I", "-S", serve.__file__, access, str(owner), str(share.directory)]
    return [*before, program.path, *words]


def _c(share: Share, socket_fd: int) -> list[str]:
    """The source comes last: the C program cuts options at commas, and knows no way to write one."""
    if "," in str(share.directory):
        raise HostUnfit(
            f"{share.directory}", "the C virtiofsd cannot serve a path with a comma", "use the Rust virtiofsd"
        )
    options = [
        "sandbox=namespace", "cache=auto", "no_posix_lock", "no_flock", "xattr", f"modcaps={_WITHOUT}",
        f"source={share.directory}",
    ]  # fmt: skip
    return ["-f", f"--fd={socket_fd}", *(word for option in options for word in ("-o", option))]


def _rust(share: Share, socket_fd: int) -> list[str]:
    return [
        f"--fd={socket_fd}", f"--shared-dir={share.directory}", "--sandbox=namespace", "--seccomp=kill",
        "--cache=auto", "--xattr", f"--modcaps={_WITHOUT}", "--inode-file-handles=never",
    ]  # fmt: skip


def device(share: Share, chardev: str) -> dict[str, bool | int | str]:
    """The guest's end, as QEMU's device properties. Needs shared memory and `virtio-mmio.force-legacy=false`."""
    return {"driver": "vhost-user-fs-device", "chardev": chardev, "tag": share.tag, "queue-size": 1024}


def check(share: Share) -> Path:
    """The directory without symlinks in its path, as it is now. Raises HostUnfit where it is none."""
    try:
        found = share.directory.resolve(strict=True)
    except OSError as error:
        raise HostUnfit(
            f"{share.directory}", f"it is to be shared: {error.strerror}", "make it first"
        ) from None
    if not found.is_dir():
        raise HostUnfit(f"{found}", "only directories can be shared", "share the directory that holds it")
    return found
