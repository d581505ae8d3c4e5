"""Sandboxes as their users start them, in directories of their own: the command line, the processes, what is left."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.sandbox.traces import Traces, look
from sandbox_runtime.errors import SandboxError
from sandbox_runtime.lifecycle import journal
from sandbox_runtime.paths import Paths
from sandbox_runtime.vmm.cgroup import Cgroup
from sandbox_runtime.vmm.processes import Process
from sandbox_runtime.vmm.templates import Templates
from tests.support.guest_machine import missing
from tests.support.guest_sessions import BUSYBOX
from tests.support.vmm import guest_image

ROOT = Path(__file__).parents[2]
STOP_AT = "BULKHEAD_DEBUG_STOP_AT"
SLOW = 180.0  # an emulated machine on a loaded host
CLEAN_SECONDS = 5.0
_APPLETS = """
    sh cat echo true false sleep dd date hostname kill id ls mount umount head sha256sum tail ps env test tr mknod wc
    insmod chroot unshare nc wget ip mkdir ln rm touch dmesg hexdump find stat seq yes reboot poweroff sysctl nsenter
"""


def unfit() -> str:
    """Why no sandbox can run here; empty where one can."""
    if os.geteuid():
        return "not root: control groups, taps and users of machines cannot be had"
    return missing()


class Stand:
    """One set of directories with an image in it.

    Attributes:
        group: control group that all sandboxes are below of.
        image: a root filesystem with a shell.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = Paths(root / "r", root / "c")
        self.group = f"bulkhead-test-{root.name}"
        self.image = root / "image"
        self._count = 0
        self.paths.cache.mkdir(parents=True)
        self.paths.guest.symlink_to(guest_image().kernel.parents[1])
        lay_out(self.image)

    def name(self, stem: str = "s") -> str:
        self._count += 1
        return f"{stem}{self._count}"

    # --- commands -------------------------------------------------------------------------------------------

    def words(self, command: str, *words: str) -> list[str]:
        """The command line."""
        roots = ["--run-root", str(self.paths.run), "--cache-root", str(self.paths.cache)]
        return [sys.executable, "-m", "sandbox_runtime", command, *roots, *words]

    def command(self, command: str, *words: str, timeout: float = SLOW) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            self.words(command, *words),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def run_words(self, name: str, options: Sequence[str], argv: Sequence[str]) -> list[str]:
        """`run` of our image as sandbox `name`."""
        ours = [
            "--name",
            name,
            "--cgroup",
            f"{self.group}/{name}",
            "--allow-emulation",
            "--quiet",
            "-m",
            "128M",
        ]
        return self.words("run", *ours, *options, str(self.image), "--", *argv)

    def run(self, *argv: str, options: Sequence[str] = ("--rm",)) -> subprocess.CompletedProcess[str]:
        """A sandbox from its start to its end."""
        words = self.run_words(self.name(), options, argv)
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=SLOW, check=False)

    def begin(
        self, name: str, argv: Sequence[str], options: Sequence[str] = (), stop_at: str = ""
    ) -> subprocess.Popen[str]:
        """A sandbox in the foreground of a process that is not waited for. `stop_at`: see `Order.stop_at`."""
        environment = os.environ | ({STOP_AT: stop_at} if stop_at else {})
        return subprocess.Popen(
            self.run_words(name, options, argv),
            cwd=ROOT, env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def detached(self, *argv: str, options: Sequence[str] = ()) -> str:
        """A sandbox that runs; its name."""
        name = self.name("d")
        done = subprocess.run(
            self.run_words(name, ["--detach", *options], argv),
            cwd=ROOT, capture_output=True, text=True, timeout=SLOW, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return name

    # --- processes ------------------------------------------------------------------------------------------

    def outcome(self, name: str) -> dict[str, Any]:
        """What is written down of a sandbox."""
        return journal.read_outcome(self.paths.sandbox(name))

    def supervisor(self, name: str) -> int:
        """The process of ours; 0 where there is none yet."""
        return int(self.outcome(name).get("pid", 0))

    def machine(self, name: str) -> int:
        """QEMU; 0 where there is none yet."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int((self.paths.sandboxes / name / "vmm").read_text().split()[0])
        return 0

    def maker(self) -> int:
        """QEMU that becomes a template now; 0 without one."""
        found = sorted(self.paths.sandboxes.glob("template-*"))
        return self.machine(found[0].name) if found else 0

    def virtiofsd(self, name: str) -> int:
        """The first server of a shared directory; 0 where there is none."""
        for thing in journal.things(self.paths.sandbox(name)):
            with contextlib.suppress(SandboxError):
                if thing.kind == "process" and Process.parse(thing.name).alive():
                    return Process.parse(thing.name).pid
        return 0

    def traces(self) -> Traces:
        """What is there now."""
        return look(self.paths, self.group)


def lay_out(image: Path) -> None:
    """A root filesystem of one static program under many names."""
    (image / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, image / "bin/busybox")
    for name in _APPLETS.split():
        (image / "bin" / name).symlink_to("busybox")
    for name in ("tmp", "proc", "sys", "dev", "etc"):
        (image / name).mkdir()


@contextlib.contextmanager
def stand() -> Iterator[Stand]:
    """A stand; at its end every sandbox is removed, and nothing but it may be left."""
    root = Path(tempfile.mkdtemp(prefix="bh"))
    root.chmod(0o711)  # directories in it are shared as a stranger would see them
    found = Stand(root)
    try:
        yield found
    finally:
        names = [path.name for path in found.paths.sandboxes.glob("[!.]*") if "template-" not in path.name]
        if names:
            found.command("rm", "--force", *names)
        templates = Templates(found.paths)
        templates.collect(0)
        Cgroup(found.group).remove()
        assert not [place for place in templates.cgroup.directories() if place.exists()]
        shutil.rmtree(root, ignore_errors=True)


def until(true: Any, seconds: float, what: str) -> Any:
    """Wait for `true()` to be so; its value."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)
    return found


def stopped(pid: int) -> bool:
    """Whether a process has stopped itself."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def end(pid: int) -> None:
    """SIGKILL, whether it is still there or not."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
