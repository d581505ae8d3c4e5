"""Tells when a directory of small files has changed: inotify, one descriptor for any number of directories."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

from sandbox_runtime.errors import StorageFailed
from sandbox_runtime.volumes.copies import DATA, Snapshot, read

IN_ATTRIB, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = (
    0x4,
    0x8,
    0x40,
    0x80,
    0x100,
    0x200,
)
IN_DELETE_SELF, IN_MOVE_SELF, IN_ONLYDIR, IN_DONT_FOLLOW = 0x400, 0x800, 0x0100_0000, 0x0200_0000
_CHANGES = (
    IN_ATTRIB
    | IN_CLOSE_WRITE
    | IN_MOVED_FROM
    | IN_MOVED_TO
    | IN_CREATE
    | IN_DELETE
    | IN_DELETE_SELF
    | IN_MOVE_SELF
)
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """One volume under observation. Select on `fileno()`; when it is readable, ask `news()`."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise StorageFailed(
                f"inotify: {os.strerror(ctypes.get_errno())}; see fs.inotify.max_user_instances"
            )
        self._digest = ""
        self._follow()

    def fileno(self) -> int:
        """Readable when something may have changed."""
        return int(self._fd)

    def close(self) -> None:
        """End the observation."""
        os.close(self._fd)

    def news(self) -> Snapshot | None:
        """The volume's content, if it is another than the last that was given here. The first call gives it always.

        Raises:
            StorageFailed: the volume is gone, or cannot be read as a whole.
        """
        self._drain()
        self._follow()
        found = read(self.source)
        if found.digest == self._digest:
            return None
        self._digest = found.digest
        return found

    def _drain(self) -> None:
        """What happened does not matter, only that something did: the content decides."""
        while True:
            try:
                events = os.read(self._fd, 1 << 16)
            except BlockingIOError:
                return
            if len(events) < _EVENT.size:
                return

    def _follow(self) -> None:
        """Watch every directory that matters, before it is read; to watch one again changes nothing."""
        if self.source.is_file():
            return self._add(self.source.parent)
        self._add(self.source)
        if not (self.source / DATA).is_symlink():
            for where, _, _ in os.walk(self.source):
                self._add(Path(where))
        return None

    def _add(self, directory: Path) -> None:
        number = _libc.inotify_add_watch(self._fd, os.fsencode(directory), _CHANGES | IN_ONLYDIR)
        if number < 0:
            trouble = os.strerror(ctypes.get_errno())
            raise StorageFailed(f"{directory} cannot be watched: {trouble}; see fs.inotify.max_user_watches")
