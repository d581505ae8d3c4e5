"""What becomes of a kernel build that goes wrong: the kernel in use stays, and nothing is left behind.

The sources here are trees of one Makefile, so that make, tar and the compiler's messages are real and take a second.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.guest import kernel_build
from sandbox_runtime.guest.kernel import own_kernel
from sandbox_runtime.guest.kernel_build import build_kernel, outdated, remove_kernel
from sandbox_runtime.guest.kernel_symbols import CONFIG
from sandbox_runtime.paths import Paths

pytestmark = pytest.mark.real
GOOD = f"""
allnoconfig:
\tcp {CONFIG} .config
vmlinux:
\tcp /bin/true vmlinux
kernelrelease:
\t@echo 6.1.0-bulkhead
"""


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    for program in ("make", "gcc", "flex", "bison", "bc", "xz", "strip"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing: see tests/kernel-packages.txt")
    if not Path("/usr/include/gelf.h").exists():
        pytest.skip("gelf.h is missing: apt-get install libelf-dev")
    return Paths(tmp_path / "run", tmp_path / "cache")


def source(paths: Paths, makefile: str, name: str = "linux-source-6.1.tar.xz") -> Path:
    """An archive of one Makefile."""
    paths.cache.mkdir(exist_ok=True)
    archive = paths.cache / name
    with tarfile.open(archive, "w:xz") as tar:
        entry = tarfile.TarInfo("linux/Makefile")
        entry.size = len(makefile.encode())
        tar.addfile(entry, io.BytesIO(makefile.encode()))
    return archive


def kept(paths: Paths) -> list[str]:
    """What lies where kernels are kept."""
    return [path.name for path in (paths.guest / "kernels").iterdir()]


def test_a_kernel_is_built_once_and_used_until_it_is_removed(paths: Paths) -> None:
    archive, told = source(paths, GOOD), list[str]()
    made = build_kernel(paths, archive, tell=told.append)
    assert made.release == "6.1.0-bulkhead"
    assert own_kernel(paths.guest) == made
    assert told
    told.clear()
    assert build_kernel(paths, archive, tell=told.append) == made
    assert told == []
    assert remove_kernel(paths)
    assert own_kernel(paths.guest) is None
    assert not remove_kernel(paths)


@pytest.mark.parametrize(
    ("makefile", "words"),
    [
        ("allnoconfig:\n\t@echo what a pity >&2; false\n", "what a pity"),
        ("allnoconfig:\n\techo CONFIG_PVH=y > .config\n", "not settled: CONFIG_64BIT"),
        (GOOD.replace("cp /bin/true vmlinux", "echo no such thing >&2; exit 3"), "no such thing"),
        (GOOD.replace("cp /bin/true vmlinux", "true"), "strip"),
    ],
)
def test_a_build_that_fails_says_why_and_changes_nothing(paths: Paths, makefile: str, words: str) -> None:
    before = build_kernel(paths, source(paths, GOOD), tell=print)
    with pytest.raises(HostUnfit) as error:
        build_kernel(paths, source(paths, makefile, "other.tar.xz"), tell=print)
    assert words in f"{error.value.why} {error.value.remedy}"
    assert own_kernel(paths.guest) == before
    assert len(kept(paths)) == 1


def test_a_newer_source_asks_for_another_build(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outdated(paths.guest) == ""
    archive = source(paths, GOOD)
    monkeypatch.setattr(kernel_build, "find_source", lambda: archive)
    build_kernel(paths, tell=print)
    assert outdated(paths.guest) == ""
    source(paths, GOOD.replace("6.1.0", "6.1.1"))
    assert str(archive) in outdated(paths.guest)


def test_junk_instead_of_a_source_is_refused(paths: Paths) -> None:
    paths.cache.mkdir()
    junk = paths.cache / "linux.tar.xz"
    junk.write_bytes(b"no archive" * 1000)
    with pytest.raises(HostUnfit, match="kernel build"):
        build_kernel(paths, junk, tell=print)
    assert kept(paths) == []


def test_the_next_build_removes_what_a_killed_one_left(paths: Paths) -> None:
    slow = source(paths, GOOD.replace("cp /bin/true vmlinux", "sleep 30"), "slow.tar.xz")
    command = ["guest", "build-kernel", "--cache-root", str(paths.cache), "--source", str(slow)]
    process = subprocess.Popen([sys.executable, "-m", "bulkhead", *command], start_new_session=True)
    try:
        end = time.monotonic() + 60
        while not list(paths.guest.glob("kernels/.building-*/tree/.config")):
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    assert own_kernel(paths.guest) is None
    assert len(kept(paths)) == 1
    made = build_kernel(paths, source(paths, GOOD), tell=print)
    assert kept(paths) == [made.boot_file.parent.name]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(
            process.pid, signal.SIGKILL
        )  # the make of the killed one, which ends by itself at its next line
