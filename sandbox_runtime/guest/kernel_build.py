"""Builds a kernel of our own for the guest from the distribution's source: no modules, no initramfs, PVH.

Smaller and sooner up than the distribution's cloud kernel; costs one build of some ten minutes. From then on every
guest of this cache is made with it.

<guest>/kernels/<name>/     vmlinux, config, release: written whole, then renamed into place; named by its inputs
<guest>/own-kernel          symbolic link to the one in use
<guest>/kernel.lock         held while building and removing
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.guest.kernel import OWN, KernelFiles, kernel_in, own_kernel
from sandbox_runtime.guest.kernel_symbols import CONFIG, dropped_symbols, wanted_symbols
from sandbox_runtime.paths import Paths

ROOM_BYTES = 3 << 30  # source 1.5 GB, objects 0.5 GB, and some
TOLD_EVERY = 50  # files
_SOURCES = Path("/usr/src")
_NEEDED = {"make": "make", "gcc": "gcc", "flex": "flex", "bison": "bison", "bc": "bc", "xz": "xz-utils"}
_REPRODUCIBLE = {
    "KBUILD_BUILD_USER": "bulkhead",
    "KBUILD_BUILD_HOST": "bulkhead",
    "KBUILD_BUILD_TIMESTAMP": "@0",
    "KBUILD_BUILD_VERSION": "1",
}

Tell = Callable[[str], None]  # how far it is, in words


def build_kernel(paths: Paths, source: Path | None = None, jobs: int = 0, tell: Tell = print) -> KernelFiles:
    """Build the kernel below the guest cache, or find it there, and put it to use.

    `source`: a kernel source archive instead of the distribution's newest; `jobs`: compilers at once (0: one for each
    processor). Raises HostUnfit with the compiler's last words; what it had made so far is removed.
    """
    source = source or find_source()
    _check_host(paths.guest)
    home = paths.guest / "kernels" / _name(source)
    with _locked(paths.guest):
        _forget(home, ".building-*")  # of a build that was killed
        if not home.exists():
            _build(source, home, jobs or os.cpu_count() or 1, tell)
        _use(paths.guest, home)
        _forget(home, "[!.]*")
    return kernel_in(home)


def remove_kernel(paths: Paths) -> bool:
    """Go back to the distribution's kernel; False where there was no other. Machines that run keep theirs."""
    if own_kernel(paths.guest) is None:
        return False
    with _locked(paths.guest):
        (paths.guest / OWN).unlink(missing_ok=True)
        shutil.rmtree(paths.guest / "kernels", ignore_errors=True)
    return True


def outdated(guest: Path) -> str:
    """Why the kernel in use should be built again; empty where it need not be, or is the distribution's."""
    try:
        home, source = (guest / OWN).resolve(strict=True), find_source()
    except (OSError, HostUnfit):
        return ""
    if home.name == _name(source):
        return ""
    return f"not built from {source} with the configuration of this release"


def find_source(folder: Path = _SOURCES) -> Path:
    """The newest kernel source archive that the distribution has installed. Raises HostUnfit."""
    found = sorted(folder.glob("linux-source-*.tar.xz"))
    if not found:
        raise HostUnfit(
            "kernel source", f"no linux-source-*.tar.xz in {folder}", "apt-get install linux-source-6.1"
        )
    return found[-1]


@contextmanager
def _locked(guest: Path) -> Iterator[None]:
    with (guest / "kernel.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_host(guest: Path) -> None:
    for program, package in _NEEDED.items():
        if shutil.which(program) is None:
            raise HostUnfit(program, "the kernel is built with it", f"apt-get install {package}")
    if not Path("/usr/include/gelf.h").exists():
        raise HostUnfit("gelf.h", "the kernel's objtool is built with libelf", "apt-get install libelf-dev")
    guest.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(guest).free < ROOM_BYTES:
        raise HostUnfit(
            "room", f"less than {ROOM_BYTES >> 30} GiB free at {guest}", "make room for the build"
        )


def _name(source: Path) -> str:
    """Changes with the source archive (by size and time: it has 130 MB) and with our configuration."""
    status = source.stat()
    text = f"{source.name}\0{status.st_size}\0{status.st_mtime_ns}\0{CONFIG.read_text()}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _build(source: Path, home: Path, jobs: int, tell: Tell) -> None:
    home.parent.mkdir(exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".building-", dir=home.parent))
    try:
        tree, built = work / "tree", work / "built"
        tree.mkdir()
        built.mkdir()
        tell(f"unpacking {source.name}")
        _run(["tar", "-xJf", str(source), "-C", str(tree), "--strip-components=1", "--no-same-owner"])
        configure(tree)
        _compile(tree, jobs, tell)
        _run(["strip", "-o", str(built / "vmlinux"), str(tree / "vmlinux")])
        shutil.copyfile(tree / ".config", built / "config")
        (built / "release").write_text(_run([*_make(tree), "-s", "kernelrelease"]))
        built.rename(home)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def configure(tree: Path) -> None:
    """Settle the configuration in a source tree. Raises HostUnfit where a decision of ours did not hold."""
    _run([*_make(tree), "allnoconfig", f"KCONFIG_ALLCONFIG={CONFIG}"])
    dropped = dropped_symbols(wanted_symbols(CONFIG.read_text()), (tree / ".config").read_text())
    if dropped:
        raise HostUnfit("kernel configuration", f"not settled: {', '.join(dropped)}", "use the 6.1 source")


def _compile(tree: Path, jobs: int, tell: Tell) -> None:
    command = [*_make(tree), f"-j{jobs}", "vmlinux"]
    with (
        (tree / "errors").open("w+") as errors,
        subprocess.Popen(
            command, env=os.environ | _REPRODUCIBLE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as make,
    ):
        try:
            for number, _ in enumerate(make.stdout or ()):
                if number % TOLD_EVERY == 0:
                    tell(f"{number} files compiled")
        except BaseException:
            make.terminate()
            raise
        if make.wait():
            errors.seek(0)
            raise HostUnfit(
                "kernel build", errors.read()[-2000:], "mend what the compiler says, and try again"
            )


def _make(tree: Path) -> list[str]:
    return ["make", "-C", str(tree), "ARCH=x86_64", "--no-print-directory"]


def _run(command: list[str]) -> str:
    run = subprocess.run(command, env=os.environ | _REPRODUCIBLE, capture_output=True, text=True, check=False)
    if run.returncode:
        raise HostUnfit("kernel build", run.stderr[-2000:], f"`{command[0]}` failed; see what it says")
    return run.stdout


def _forget(home: Path, pattern: str) -> None:
    for other in home.parent.glob(pattern):
        if other != home:
            shutil.rmtree(other, ignore_errors=True)


def _use(guest: Path, home: Path) -> None:
    fresh = guest / f".{OWN}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(home.relative_to(guest))
    fresh.rename(guest / OWN)
