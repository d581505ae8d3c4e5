"""`make run`'s view of the wall: one untrusted sandbox, started for real, and the kernels on both sides of it.

Where something is missing it says so in one line and is content: the rest of `make run` needs none of this.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sandbox_runtime.errors import SandboxError
from sandbox_runtime.guest.agent_binary import go_command
from sandbox_runtime.guest.inputs import gather
from sandbox_runtime.guest.kernel import find_kernel
from sandbox_runtime.paths import Paths
from sandbox_runtime.vmm.accel import probe_accel
from sandbox_runtime.vmm.host import this_host

BUSYBOX = Path("/bin/busybox")
PATIENCE_SECONDS = 900


def main(cache: Path) -> int:
    """Show it; 1 only where everything was there and it did not work."""
    why = missing(Paths.of_this_user()._replace(cache=cache.absolute()))
    if why:
        print(f"sandbox: skipped, {why}")
        return 0
    with tempfile.TemporaryDirectory(prefix="bulkhead-first-") as root:
        (Path(root) / "bin").mkdir()
        shutil.copy(BUSYBOX, Path(root) / "bin/busybox")
        at = ["--cache-root", str(cache.absolute())]
        _bulkhead("guest", "build", *at)
        begin = time.monotonic()
        words = ["run", "--rm", "--cold", "--allow-emulation", *at, root, "/bin/busybox", "uname", "-r"]
        done = _bulkhead("sandbox", *words)
        seconds = time.monotonic() - begin
    accel = probe_accel(Paths.of_this_user())
    print(f"sandbox: uname -r outside {os.uname().release}, inside {done.stdout.strip() or '?'}", end=" ")
    print(f"(accel={accel.kind}, {seconds:.1f} s with a cold boot)")
    if not accel.usable:
        print(f"sandbox: this host has no usable KVM ({accel.why}); emulated, which is no wall")
    return int(done.returncode != 0)


def _bulkhead(*words: str) -> subprocess.CompletedProcess[str]:
    """One command, its progress shown."""
    argv = [sys.executable, "-m", "bulkhead", *words]
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS, check=False)


def missing(paths: Paths) -> str:
    """What is not there, or nothing."""
    if not BUSYBOX.exists():
        return f"{BUSYBOX} is not there (install busybox-static)"
    for program in ("mkfs.ext4", "mkfs.erofs"):
        if shutil.which(program) is None:
            return f"{program} is not there"
    try:
        this_host()
        go_command()
        gather(find_kernel(paths.guest))
    except SandboxError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
