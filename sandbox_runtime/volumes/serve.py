"""The first half of a virtiofsd's life: `serve.py ACCESS UID DIRECTORY PROGRAM ARGUMENT…`, run as a program of its
own.

In a mount namespace of its own it makes the directory a mount, read-only where ACCESS is `ro`, with everything that is
mounted below it. Then it becomes user UID (0: stays root), enters a user namespace whose root is that user, and
becomes PROGRAM. So the host's kernel refuses writes, whatever a guest that has taken over the program tries: a
mount that came from another user namespace is locked. Only os, sys, signal and ctypes: this runs at each start.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
_MOUNT_SETATTR = 442  # Linux 5.12; one number for every architecture

_libc = ctypes.CDLL(None, use_errno=True)


class _Attributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns"))


def main(access: str, uid: str, directory: str, *argv: str) -> None:
    """Never returns where all goes well."""
    parent = os.getppid()
    if os.getuid():
        _enter_user_namespace()  # without it nobody but root may mount
    _check(_libc.unshare(CLONE_NEWNS), "unshare")
    _mount_apart(directory.encode(), read_only=access == "ro")
    if int(uid):
        os.setgroups([])
        os.setresgid(int(uid), int(uid), int(uid))
        os.setresuid(int(uid), int(uid), int(uid))
        _enter_user_namespace()
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "pdeathsig")  # a change of user clears it
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(argv[0], argv)  # noqa: S606 - no shell, and the caller chose the program


def _enter_user_namespace() -> None:
    uid, gid = os.getuid(), os.getgid()
    _check(_libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "dumpable")  # or /proc/self belongs to root: proc(5)
    _check(_libc.unshare(CLONE_NEWUSER), "unshare")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {uid} 1")
    _write("/proc/self/gid_map", f"0 {gid} 1")


def _mount_apart(place: bytes, read_only: bool) -> None:
    _check(_libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None), "mount /")
    _check(_libc.mount(place, place, None, ctypes.c_ulong(MS_BIND | MS_REC), None), "bind")
    denied = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (MOUNT_ATTR_RDONLY if read_only else 0)
    wanted = _Attributes(denied, 0, 0, 0)
    size = ctypes.sizeof(wanted)
    _check(
        _libc.syscall(_MOUNT_SETATTR, AT_FDCWD, place, AT_RECURSIVE, ctypes.byref(wanted), size),
        "mount_setattr",
    )


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, text.encode())
    os.close(fd)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
