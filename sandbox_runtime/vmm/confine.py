"""What a child of ours gives up between fork and exec. Runs in the child; every step that fails ends it, loudly.

As root: control group, namespaces (mount, network, IPC, UTS), a root directory that holds /usr read-only and nothing of
the host besides, an unprivileged user. As anybody: no new privileges, no core dumps, death with the parent.
A user without root gets the second half only; `Confinement.jailed` says so.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    4096,
    16384,
    1 << 18,
)
MNT_DETACH = 2
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNET = 0x20000, 0x4000000, 0x8000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
SYS_PIVOT_ROOT = 155  # x86-64
OPEN_FILES = 1024

_libc = ctypes.CDLL(None, use_errno=True)


class Confinement(NamedTuple):
    """How a child is confined.

    Attributes:
        uid: user and group to become; 0 leaves them as they are (no root, no jail).
        groups: supplementary groups, for /dev/kvm.
        jail: an empty directory to mount the child's root on; empty means no jail.
        visible: files and directories beside /usr that the child may see, at the same place, read-only.
        devices: device files that it may open.
        cgroup: files that take "0" to join.
        keep_network: stay in the network namespace of the caller.
        oom_score_adj: as in proc(5); None leaves it.
        die_with_parent: end with SIGKILL when the thread that forked ends.
        open_files: how many descriptors it may have, at most what we may.
    """

    uid: int = 0
    groups: tuple[int, ...] = ()
    jail: str = ""
    visible: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    cgroup: tuple[Path, ...] = ()
    keep_network: bool = False
    oom_score_adj: int | None = None
    die_with_parent: bool = True
    open_files: int = OPEN_FILES

    @property
    def jailed(self) -> bool:
        """Whether the child has a root directory and a user of its own."""
        return bool(self.uid and self.jail)


def apply(confinement: Confinement, parent: int) -> None:
    """Give everything up, in the order in which the means for it are lost."""
    for file in confinement.cgroup:
        file.write_text("0")
    if confinement.oom_score_adj is not None:
        Path("/proc/self/oom_score_adj").write_text(str(confinement.oom_score_adj))
    if confinement.jail:
        namespaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC
        _check(_libc.unshare(namespaces | (0 if confinement.keep_network else CLONE_NEWNET)), "unshare")
        _enter_jail(confinement)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = min(confinement.open_files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if confinement.uid:
        os.setgroups(confinement.groups)
        os.setresgid(confinement.uid, confinement.uid, confinement.uid)
        os.setresuid(confinement.uid, confinement.uid, confinement.uid)
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    if confinement.die_with_parent:  # a change of user clears it: prctl(2)
        _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "pdeathsig")
        if os.getppid() != parent:
            os._exit(1)


def take_fds(passed: Sequence[tuple[int, int]], keep: int) -> None:
    """Make each (ours, theirs) descriptor `theirs`, inherited over exec; close all else above 2, but for `keep`."""
    lifted = [(fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, keep + 1), theirs) for ours, theirs in passed]
    for high, theirs in lifted:
        os.dup2(high, theirs)
    wanted = {theirs for _, theirs in passed}
    for fd in range(3, keep):
        if fd not in wanted:
            os.closerange(fd, fd + 1)
    os.closerange(keep + 1, 1 << 20)  # close_range(2): one call


def _enter_jail(confinement: Confinement) -> None:
    root = confinement.jail
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    _mount("jail", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=256k,mode=755")
    for name in ("/lib", "/lib64", "/bin", "/sbin"):
        if Path(name).is_symlink():
            Path(root + name).symlink_to(os.readlink(name))  # noqa: PTH115
        elif Path(name).is_dir():
            _show(root, name)
    for name in ("/usr", "/etc/ld.so.cache", *confinement.visible):
        _show(root, name)
    for name in ("/dev/null", "/dev/urandom", *confinement.devices):
        _bind(root, name)
    Path(root + "/proc").mkdir()
    _mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "subset=pid,hidepid=invisible")
    os.chdir(root)
    _check(_libc.syscall(SYS_PIVOT_ROOT, b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", MNT_DETACH), "umount")
    os.chdir("/")
    _mount("none", "/", "", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def _show(root: str, name: str) -> None:
    """A part of the host's tree, read-only."""
    if Path(name).exists():
        _bind(root, name)
        _mount("none", root + name, "", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def _bind(root: str, name: str) -> None:
    place = Path(root + name)
    place.parent.mkdir(parents=True, exist_ok=True)
    if Path(name).is_dir():
        place.mkdir(exist_ok=True)
    else:
        place.touch()
    _mount(name, str(place), "", MS_BIND)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    words = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
    _check(_libc.mount(*words), f"mount {target}")


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
