"""`bulkhead sandbox doctor`: what this host can do, what it lacks, and what to do about it."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.command import places
from sandbox_runtime.command.table import show
from sandbox_runtime.errors import HostUnfit, TraceRefused
from sandbox_runtime.guest.inputs import gather
from sandbox_runtime.guest.kernel import find_kernel
from sandbox_runtime.guest.kernel_build import outdated
from sandbox_runtime.model import MIB
from sandbox_runtime.paths import Paths
from sandbox_runtime.vmm.accel import REMEDY, probe_accel
from sandbox_runtime.vmm.cgroup import ROOT, Cgroup
from sandbox_runtime.vmm.host import this_host
from sandbox_runtime.vmm.tracing import traced
from sandbox_runtime.volumes import virtiofs

QEMU_LEAST = (7, 2)
KERNEL_LEAST = (5, 12)  # mount_setattr(2), pidfd_open(2), close_range(2)
FREE_LEAST = 2 << 30
SYS_GETPID = 39  # x86-64


class Finding(NamedTuple):
    """One look. `needed`: nothing starts without it; otherwise something is missing only for what `what` names."""

    what: str
    good: bool
    needed: bool
    seen: str
    remedy: str = ""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("doctor", help="what this host can do, and what it lacks")
    places.add_options(parser)
    parser.add_argument("--allow-emulation", action="store_true", help="KVM is not needed")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Look; 0 where sandboxes can be started, 1 where not."""
    found = examine(places.paths(arguments), arguments.allow_emulation)
    if arguments.json:
        print(json.dumps([finding._asdict() for finding in found], indent=1))
    else:
        show(
            ("", "WHAT", "SEEN"),
            [
                ("ok" if each.good else "MISSING" if each.needed else "lacks", each.what, each.seen)
                for each in found
            ],
        )
        for each in found:
            if not each.good and each.remedy:
                print(f"{each.what}: {each.remedy}")
    return int(any(each.needed and not each.good for each in found))


def examine(paths: Paths, emulate: bool) -> list[Finding]:
    """All looks, none of which changes anything but the remembered verdict on KVM."""
    looks: list[Callable[[], Finding]] = [
        lambda: _kvm(paths, emulate),
        _qemu,
        _kernel,
        lambda: _guest(paths),
        lambda: _own_kernel(paths),
        lambda: _program("mkfs.ext4", "e2fsprogs", "private disks", True),
        lambda: _program("mkfs.erofs", "erofs-utils", "the guest image", True),
        lambda: _program("ip", "iproute2", "--net tap", False),
        _virtiofsd,
        _user,
        _groups,
        _tracing,
        lambda: _device("/dev/net/tun", "--net tap", "load the tun module"),
        lambda: _room(paths.cache, "disks, layers, templates"),
        lambda: _room(paths.run, "sockets and journals", 16 * MIB),
    ]
    return [look() for look in looks]


def _kvm(paths: Paths, emulate: bool) -> Finding:
    accel = probe_accel(paths)
    return Finding("KVM", accel.usable, not emulate, accel.why, REMEDY)


def _qemu() -> Finding:
    try:
        host = this_host()
    except HostUnfit as error:
        return Finding("QEMU", False, True, error.what, error.remedy)
    said = subprocess.run(
        [str(host.qemu), "--version"], capture_output=True, text=True, check=False, timeout=20
    )
    version = re.search(r"version (\d+)\.(\d+)(\S*)", said.stdout)
    if version is None:
        return Finding(
            "QEMU", False, True, f"{host.qemu} does not say its version", "install qemu-system-x86"
        )
    good = (int(version[1]), int(version[2])) >= QEMU_LEAST
    return Finding("QEMU", good, True, f"{version[0]} at {host.qemu}", "7.2 or newer is needed")


def _kernel() -> Finding:
    release = os.uname().release
    version = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    return Finding("host kernel", version >= KERNEL_LEAST, True, release, "5.12 or newer is needed")


def _guest(paths: Paths) -> Finding:
    try:
        inputs = gather(find_kernel(paths.guest))
    except HostUnfit as error:
        return Finding("guest kernel and crun", False, True, f"{error.what}: {error.why}", error.remedy)
    return Finding(
        "guest kernel and crun", True, True, f"{inputs.kernel.release} at {inputs.kernel.boot_file}"
    )


def _own_kernel(paths: Paths) -> Finding:
    why = outdated(paths.guest)
    return Finding("newest guest kernel", not why, False, why or "yes", "bulkhead guest build-kernel")


def _program(name: str, package: str, purpose: str, needed: bool) -> Finding:
    found = shutil.which(name)
    return Finding(f"{name} ({purpose})", bool(found), needed, found or "not there", f"install {package}")


def _virtiofsd() -> Finding:
    try:
        program = virtiofs.find()
    except HostUnfit as error:
        return Finding("virtiofsd (host directories)", False, False, "not there", error.remedy)
    return Finding("virtiofsd (host directories)", True, False, f"{program.path} ({program.dialect} dialect)")


def _user() -> Finding:
    root = os.geteuid() == 0
    seen = (
        "root: users, namespaces, a jail for each VM"
        if root
        else "not root: VMMs run as this user, without a jail"
    )
    return Finding("own user for each VMM", root, False, seen, "run as root")


def _groups() -> Finding:
    version = "v2" if Cgroup("x").unified else "v1"
    places_ = [ROOT] if version == "v2" else [ROOT / "memory"]
    good = all(os.access(place, os.W_OK) for place in places_) and os.geteuid() == 0
    seen = f"cgroup {version}, {'writable' if good else 'not writable by this user'}"
    return Finding("limits on the host", good, False, seen, "run as root, or in a delegated group")


def _tracing() -> Finding:
    """By doing it: a system call that changes nothing, in a child."""
    what = "freed memory goes back (restored sandboxes)"
    with subprocess.Popen(["/bin/sleep", "60"]) as child:
        try:
            with traced(child.pid) as process:
                process.call(SYS_GETPID)
        except TraceRefused as error:
            return Finding(
                what, False, False, str(error), "run as root, or with kernel.yama.ptrace_scope at most 1"
            )
        finally:
            child.kill()
    return Finding(what, True, False, "child processes may be traced")


def _device(name: str, purpose: str, remedy: str) -> Finding:
    good = os.access(name, os.R_OK | os.W_OK)
    return Finding(
        f"{name} ({purpose})", good, False, "may be opened" if good else "may not be opened", remedy
    )


def _room(place: Path, purpose: str, least: int = FREE_LEAST) -> Finding:
    level = next(each for each in (place, *place.parents) if each.exists())
    free = shutil.disk_usage(level).free
    return Finding(
        f"room for {purpose}", free >= least, True, f"{free / (1 << 30):.1f} GiB free at {level}", "make room"
    )
