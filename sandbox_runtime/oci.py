"""A container as the OCI runtime in the guest wants it: config.json and process objects. Pure.

The guest's kernel is the wall; inside it a container still gets what runc and Docker give: own namespaces, few
capabilities, masked paths (OCI runtime-spec config.md, config-linux.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sandbox_runtime.errors import BadInput
from sandbox_runtime.model import ContainerSpec, Limits
from sandbox_runtime.rootfs.image.config import ImageConfig

CPU_PERIOD_US = 100_000
PIDS_LIMIT = 32_768
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CAPABILITIES = [
    f"CAP_{name}"
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    ]
]
_MASKED = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
]
_READ_ONLY = ["bus", "fs", "irq", "sys", "sysrq-trigger"]
_NO_MORE = ["nosuid", "noexec", "nodev"]


class User(NamedTuple):
    """Who a process is, by numbers."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = ""


ROOT = User(home="/root")


def by_number(text: str) -> User | None:
    """`uid[:gid]` in digits, or empty for root; None where a name has to be looked up in the image."""
    if not text:
        return ROOT
    user, _, group = text.partition(":")
    if not user.isdecimal() or (group and not group.isdecimal()):
        return None
    return User(int(user), int(group or 0), (), "/root" if user == "0" else "/")


def look_up(text: str, passwd: str, group: str) -> User:
    """`user[:group]`, names or numbers, by the image's own /etc/passwd and /etc/group. BadInput where it has none."""
    name, _, group_name = text.partition(":")
    entry = next((each for each in _entries(passwd, 7) if name in (each[0], each[2])), None)
    if entry is None and not name.isdecimal():
        raise BadInput(f"the image has no user {name!r}")
    uid, gid, home = (int(entry[2]), int(entry[3]), entry[5]) if entry else (int(name), 0, "/")
    groups = _entries(group, 4)
    if not group_name:
        more = [int(each[2]) for each in groups if entry and entry[0] in each[3].split(",")]
        return User(uid, gid, tuple(more), home)
    chosen = next((each for each in groups if group_name in (each[0], each[2])), None)
    if chosen is None and not group_name.isdecimal():
        raise BadInput(f"the image has no group {group_name!r}")
    return User(uid, int(chosen[2] if chosen else group_name), (), home)


def _entries(text: str, fields: int) -> list[list[str]]:
    """Lines of passwd(5) or group(5) that have all their fields and numbers; a stranger wrote them."""
    lines = [line.split(":") for line in text.splitlines()]
    numbers = slice(2, 4 if fields == 7 else 3)
    return [line for line in lines if len(line) == fields and all(part.isdecimal() for part in line[numbers])]


def process(
    argv: Sequence[str],
    env: Sequence[str],
    cwd: str,
    user: User,
    tty: bool,
    capabilities: Sequence[str] = tuple(_CAPABILITIES),
) -> dict[str, Any]:
    """An OCI process object. What `env` says later wins."""
    known = dict(
        line.split("=", 1) for line in (DEFAULT_PATH, f"HOME={user.home or '/'}", *env) if "=" in line
    )
    if tty:
        known.setdefault("TERM", "xterm")
    held = list(capabilities)
    return {
        "terminal": tty,
        "args": list(argv),
        "env": [f"{name}={value}" for name, value in known.items()],
        "cwd": cwd or "/",
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), held),
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1 << 20, "soft": 1 << 16}],
    }


def config(
    spec: ContainerSpec, image: ImageConfig, user: User, binds: Sequence[dict[str, object]]
) -> dict[str, Any]:
    """config.json of a container; `binds` are the OCI mounts of its volumes. BadInput where nothing is to run."""
    argv = image.argv(spec.argv)
    if not argv:
        raise BadInput(f"container {spec.id}: neither the image nor the caller says what to run")
    return {
        "ociVersion": "1.0.2",
        "process": process(argv, (*image.env, *spec.env), spec.cwd or image.cwd, user, spec.tty),
        "root": {"path": "rootfs", "readonly": spec.read_only},
        "mounts": [*_MOUNTS, *binds],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "mount", "cgroup")],
            "resources": resources(spec.limits),
            "maskedPaths": [*(f"/proc/{name}" for name in _MASKED), "/sys/firmware"],
            "readonlyPaths": [f"/proc/{name}" for name in _READ_ONLY],
        },
        **spec.oci,
    }


def resources(limits: Limits) -> dict[str, Any]:
    """The OCI linux.resources object; memory without swap."""
    # The runtime adds null, zero, tty and the like; every disk of the guest, whoever's it is, stays closed.
    devices = [{"allow": False, "access": "rwm"}]
    found: dict[str, Any] = {"pids": {"limit": PIDS_LIMIT}, "devices": devices}
    if limits.memory_bytes:
        found["memory"] = {"limit": limits.memory_bytes, "swap": limits.memory_bytes}
    if limits.cpu_milli:
        quota = max(1_000, limits.cpu_milli * CPU_PERIOD_US // 1000)
        found["cpu"] = {"quota": quota, "period": CPU_PERIOD_US}
    return found


def _mount(kind: str, target: str, options: Sequence[str]) -> dict[str, object]:
    return {"destination": target, "type": kind, "source": kind, "options": list(options)}


_MOUNTS = [
    _mount("proc", "/proc", _NO_MORE),
    _mount("tmpfs", "/dev", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    _mount("devpts", "/dev/pts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    _mount("tmpfs", "/dev/shm", [*_NO_MORE, "mode=1777", "size=65536k"]),  # noqa: S108 - in the guest
    _mount("mqueue", "/dev/mqueue", _NO_MORE),
    _mount("sysfs", "/sys", [*_NO_MORE, "ro"]),
    _mount("cgroup", "/sys/fs/cgroup", [*_NO_MORE, "relatime", "ro"]),
]
