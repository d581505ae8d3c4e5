"""Processes that outlive nobody: started confined, named by pid and start time, ended by descriptor.

A pid alone may have become somebody else's; a pid with its start time (ticks since boot) and the boot id names one
process for ever, so that a later run can find and end what an earlier one left.
"""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.errors import JournalCorrupt

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Process(NamedTuple):
    """One process for ever."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has `pid` now. ProcessLookupError where there is none."""
        return cls(pid, _start_time(pid), BOOT_ID.read_text().strip())

    @classmethod
    def parse(cls, line: str) -> Process:
        """Read back what `str` wrote."""
        try:
            pid, started, boot = line.split()
            return cls(int(pid), int(started), boot)
        except ValueError:
            raise JournalCorrupt(f"{line!r:.80} names no process") from None

    def __str__(self) -> str:
        return f"{self.pid} {self.started} {self.boot}"

    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        try:
            same = Process.of(self.pid) == self
            return same and _state(self.pid) not in "ZX"
        except (ProcessLookupError, OSError):
            return False

    def end(self, seconds: float = 5.0) -> bool:
        """Kill it and wait until it is gone; True when it is. Somebody else with its pid is left alone."""
        try:
            handle = os.pidfd_open(self.pid)
        except (ProcessLookupError, OSError):
            return True
        try:
            if not self.alive():  # asked after the descriptor is held: the pid cannot change hands any more
                return True
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            return ended(handle, seconds)
        except ProcessLookupError:
            return True
        finally:
            os.close(handle)


def alive(pid: int) -> bool:
    """Whether a process has `pid` now that is no zombie; it may be any."""
    try:
        return _state(pid) not in "ZX"
    except (ProcessLookupError, OSError):
        return False


def ended(pidfd: int, seconds: float) -> bool:
    """Whether the process behind `pidfd` ends within `seconds`."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(0, seconds * 1000)))


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the third on; the name before them may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None


def _start_time(pid: int) -> int:
    return int(_stat(pid)[19])  # field 22 of proc_pid_stat(5)


def _state(pid: int) -> str:
    return _stat(pid)[0]
