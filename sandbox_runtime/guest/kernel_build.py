"""Builds a kernel of our own for the guest from the distribution's source: no modules, no initramfs, PVH.

The default guest runs the distribution's cloud kernel. This one boots faster and is smaller, and costs one build of ten
to fifteen minutes; `build(paths, kernel=…)` then takes it in the other's place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.guest.kernel import KernelFiles
from sandbox_runtime.paths import Paths

CONFIG = Path(__file__).parent / "kernel_config" / "guest.config"
_SOURCES = Path("/usr/src")
_NEEDED = {"make": "make", "gcc": "gcc", "flex": "flex", "bison": "bison", "bc": "bc", "xz": "xz-utils"}
_REPRODUCIBLE = {
    "KBUILD_BUILD_USER": "bulkhead",
    "KBUILD_BUILD_HOST": "bulkhead",
    "KBUILD_BUILD_TIMESTAMP": "@0",
}


def find_source(folder: Path = _SOURCES) -> Path:
    """The newest kernel source archive that the distribution has installed. Raises HostUnfit."""
    found = sorted(folder.glob("linux-source-*.tar.xz"))
    if not found:
        raise HostUnfit(
            "kernel source", f"no linux-source-*.tar.xz in {folder}", "apt-get install linux-source-6.1"
        )
    return found[-1]


def wanted_symbols(config: str) -> dict[str, str]:
    """What the configuration file decides: symbol -> value."""
    lines = (line.strip() for line in config.splitlines())
    pairs = (line.split("=", 1) for line in lines if line.startswith("CONFIG_"))
    return {name: value for name, value in pairs}  # noqa: C416 - a pair is a list here


def dropped_symbols(wanted: dict[str, str], resolved: str) -> list[str]:
    """Decisions that the kernel's own rules overruled, for lack of something that they depend on."""
    settled = wanted_symbols(resolved)
    return sorted(name for name, value in wanted.items() if settled.get(name, "n") != value)


def build_kernel(paths: Paths, source: Path | None = None, jobs: int | None = None) -> KernelFiles:
    """Build below the guest cache; returns what `build` takes as `kernel`. Raises HostUnfit with the last words."""
    for program, package in _NEEDED.items():
        if shutil.which(program) is None:
            raise HostUnfit(program, "the kernel is built with it", f"apt-get install {package} libelf-dev")
    tree = paths.guest / "kernel-source"
    _unpack(source or find_source(), tree)
    configure(tree)
    _make(tree, f"-j{jobs or os.cpu_count() or 1}", "vmlinux")
    release = _make(tree, "-s", "kernelrelease").strip()
    boot_file = paths.guest / f"vmlinux-{release}"
    subprocess.run(["strip", "-o", str(boot_file), str(tree / "vmlinux")], check=True)
    return KernelFiles(release, boot_file, paths.guest / "no-modules")


def configure(tree: Path) -> None:
    """Settle the configuration in a source tree. Raises HostUnfit where a decision of ours did not hold."""
    _make(tree, "allnoconfig", f"KCONFIG_ALLCONFIG={CONFIG}")
    dropped = dropped_symbols(wanted_symbols(CONFIG.read_text()), (tree / ".config").read_text())
    if dropped:
        raise HostUnfit("kernel configuration", f"not settled: {', '.join(dropped)}", "use the 6.1 source")


def _unpack(source: Path, tree: Path) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    subprocess.run(["tar", "-xJf", str(source), "-C", str(tree), "--strip-components=1"], check=True)


def _make(tree: Path, *targets: str) -> str:
    environment = os.environ | _REPRODUCIBLE
    run = subprocess.run(
        ["make", "-C", str(tree), "ARCH=x86_64", "--no-print-directory", *targets],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise HostUnfit("kernel build", run.stderr[-2000:], "see the build tree in the guest cache")
    return run.stdout
