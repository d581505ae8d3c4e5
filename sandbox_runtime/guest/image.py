"""The guest's root filesystem: a read-only erofs image with crun, its libraries, the late modules, the agent.

erofs because it mounts in a millisecond, is read page by page, and is the same bytes for the same tree: mkfs.erofs runs
with fixed times, owner and UUID on a tree made in a fixed order.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from sandbox_runtime.errors import HostUnfit

_UUID = "b01c4ead-0000-4000-8000-000000000001"
_FOLDERS = """
    bin dev etc lib lib/modules lib64 mnt newroot proc root run sbin sys tmp usr/bin usr/sbin var var/tmp
"""
_FILES = {
    "etc/passwd": "root:x:0:0::/root:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "etc/os-release": 'ID=bulkhead\nNAME="Bulkhead guest"\n',
}
_LINKS = {"etc/machine-id": "/run/machine-id", "etc/mtab": "/proc/mounts", "sbin/modprobe": "agent"}


def host_program(name: str, package: str) -> Path:
    """A program of the host. Raises HostUnfit with the package that has it."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        raise HostUnfit(name, "the guest image is made with it", f"apt-get install {package}")
    return Path(found).resolve()


def libraries(program: Path) -> list[Path]:
    """The shared libraries and the loader of a program, by the names under which it asks for them."""
    run = subprocess.run(
        ["ldd", str(program)], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
    )
    if run.returncode:
        return []  # a static program
    words = (line.split() for line in run.stdout.splitlines())
    return sorted({Path(word) for line in words for word in line if word.startswith("/")})


def stage(tree: Path, programs: list[Path], agent: Path, modules: list[Path], index: str) -> None:
    """Lay out the image's tree in an empty directory."""
    for folder in _FOLDERS.split():
        (tree / folder).mkdir(parents=True, exist_ok=True)
    for path, text in _FILES.items():
        (tree / path).write_text(text)
    for path, target in _LINKS.items():
        (tree / path).symlink_to(target)
    _copy(agent, tree / "sbin/agent", 0o755)
    for program in programs:
        _copy(program, tree / "usr/bin" / program.name, 0o755)
        for library in libraries(program):
            _copy(library.resolve(), tree / str(library).lstrip("/"), 0o755)
    (tree / "lib/modules/index").write_text(index)
    for module in modules:
        _copy(module, tree / "lib/modules" / module.name, 0o644)


def make(tree: Path, target: Path) -> None:
    """Turn a staged tree into an image file; an unprivileged user gets the same bytes as root."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    command = [
        str(host_program("mkfs.erofs", "erofs-utils")),
        "-T0",
        "-x-1",
        "--all-root",
        f"-U{_UUID}",
        "--quiet",
    ]
    run = subprocess.run([*command, str(target), str(tree)], capture_output=True, text=True, check=False)
    if run.returncode:
        raise HostUnfit("mkfs.erofs", run.stderr[-500:], "erofs-utils >= 1.5 makes the guest image")


def _copy(source: Path, target: Path, mode: int) -> None:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(mode)
