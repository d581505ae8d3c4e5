"""A running machine in the hands of its owner: monitor, disks, memory, and its end."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from sandbox_runtime.errors import VmmFailed
from sandbox_runtime.model import Accel
from sandbox_runtime.paths import Paths
from sandbox_runtime.vmm import users
from sandbox_runtime.vmm.disks import Disks
from sandbox_runtime.vmm.processes import ended
from sandbox_runtime.vmm.qmp import Qmp
from sandbox_runtime.vmm.spawn import Child

SAID_LIMIT = 1_000
BALLOON = "/machine/peripheral/balloon"
UNKNOWN = 1 << 63  # all bits set: the guest did not say


class Started(NamedTuple):
    """How a machine came to run.

    Attributes:
        restored: from a template; False is a cold boot.
        why_cold: why it was not restored; empty where it was, or was not to be.
        template: key of the template; empty without one.
        phases: (name, seconds since the start was asked for), in order.
        why_kept: why memory that the guest frees stays with QEMU; empty where it goes back to the host.
    """

    restored: bool
    why_cold: str
    template: str
    phases: tuple[tuple[str, float], ...]
    why_kept: str = ""


class Vm:
    """One machine. `close` ends it and removes all that it left; nothing else does.

    Attributes:
        id: of the sandbox.
        accel: what executes it; goes into every status and metric.
        started: how.
        qmp: its monitor.
        child: the QEMU process.
        channel_socket: where the agent's port is reached.
        disks: plugs disks in and out.
        memory_bytes: all of the guest's memory.
    """

    def __init__(
        self, paths: Paths, sandbox_id: str, directory: Path, accel: Accel, child: Child, qmp: Qmp, uid: int
    ) -> None:
        self.id, self.accel, self.child, self.qmp = sandbox_id, accel, child, qmp
        self.directory, self.channel_socket = directory, directory / "agent.sock"
        self.started = Started(False, "", "", ())
        self.disks = Disks(qmp)
        self.memory_bytes = 0
        self._paths, self._uid, self._polled = paths, uid, False

    @property
    def pids(self) -> list[int]:
        """All processes of this machine, for accounting."""
        return [self.child.process.pid]

    @property
    def alive(self) -> bool:
        """Whether QEMU runs; a guest that has ended leaves it paused until `close`."""
        return not ended(self.child.pidfd, 0)

    # --- memory ---------------------------------------------------------------------------------------------

    def set_memory(self, usable_bytes: int) -> None:
        """Inflate or deflate the balloon until the guest has `usable_bytes`; the guest does it in its own time."""
        self.qmp.command("balloon", value=usable_bytes)

    def usable_memory(self) -> int:
        """What the balloon leaves of the guest's memory now."""
        return int(self.qmp.command("query-balloon")["actual"])

    def guest_statistics(self) -> dict[str, int]:
        """What the guest's balloon driver says of its memory, in bytes by QEMU's names; empty before its first word.

        Asked for the first time, QEMU begins to poll the guest every two seconds.
        """
        if not self._polled:
            self.qmp.command("qom-set", path=BALLOON, property="guest-stats-polling-interval", value=2)
            self._polled = True
        found = self.qmp.command("qom-get", path=BALLOON, property="guest-stats")
        return {
            name: int(value) for name, value in found.get("stats", {}).items() if 0 <= int(value) < UNKNOWN
        }

    # --- its end --------------------------------------------------------------------------------------------

    def console(self) -> str:
        """The last that the guest printed; what a kernel that died had to say. Text of no trust."""
        text: Any = self.qmp.command("ringbuf-read", device="console", size=1 << 16, format="utf8")
        return str(text)

    def said(self) -> str:
        """What QEMU itself has said since the last call. Text of no trust."""
        return last_words(self.child)

    def kill(self) -> None:
        """End QEMU now."""
        try:
            signal.pidfd_send_signal(self.child.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return

    def wait(self, seconds: float) -> bool:
        """Whether QEMU ends within `seconds`."""
        return ended(self.child.pidfd, seconds)

    def close(self) -> None:
        """End it, and leave nothing: no process, socket, user or directory."""
        self.kill()
        if not self.wait(5):
            raise VmmFailed("close", f"QEMU ({self.child.process.pid}) does not end after SIGKILL")
        reap(self.child)
        self.qmp.close()
        remove(self._paths, self.id, self.directory, self._uid)


def last_words(child: Child) -> str:
    """The end of what a child has said that nobody has read yet."""
    try:
        return os.read(child.output, 1 << 16).decode(errors="replace").strip()[-SAID_LIMIT:]
    except BlockingIOError:
        return ""


def reap(child: Child) -> None:
    """Collect a dead child of ours and close what we hold of it."""
    with suppress(ChildProcessError):  # not our child: found again after a crash of ours
        os.waitpid(child.process.pid, 0)
    os.close(child.pidfd)
    os.close(child.output)


def remove(paths: Paths, sandbox_id: str, directory: Path, uid: int) -> None:
    """What a machine leaves in the file system: its sockets, its empty root, the record of its process, its user."""
    for name in ("agent.sock", "qmp.sock", "vmm"):
        (directory / name).unlink(missing_ok=True)
    shutil.rmtree(directory / "root", ignore_errors=True)
    with suppress(OSError):  # others have files there
        directory.rmdir()
    if uid:
        users.release(paths, sandbox_id, uid)
