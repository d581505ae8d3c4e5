"""What a container writes, kept in files of a bounded size, in the format of the CRI: `TIME stdout|stderr P|F TEXT`.

A line that came in parts stands as parts (P) and a last one (F), so that the bytes can be put together exactly.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

FILE_BYTES = 16 << 20
FILES = 4


def place(storage: Path, container: str, number: int = 0) -> Path:
    """The log of a container; larger numbers are older."""
    return storage / (f"{container}.log" if not number else f"{container}.log.{number}")


class Log:
    """The log of one container, open for writing. A full disk loses lines, never the container."""

    def __init__(
        self, storage: Path, container: str, file_bytes: int = FILE_BYTES, files: int = FILES
    ) -> None:
        self._storage, self._container = storage, container
        self._file_bytes, self._files = file_bytes, files
        self.lost_bytes = 0
        self._fd = -1
        self._size = 0
        self._open()

    def write(self, stream: str, data: bytes) -> None:
        """Append what came on `stream`."""
        stamp = f"{_now()} {stream} ".encode()
        text = b"".join(_records(stamp, data))
        if self._size + len(text) > self._file_bytes and self._size:
            self._rotate()
        self._append(text, len(data))

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, text: bytes, length: int) -> None:
        view = memoryview(text)
        try:
            while view:
                written = os.write(self._fd, view)
                self._size += written
                view = view[written:]
        except OSError:
            self.lost_bytes += length

    def _rotate(self) -> None:
        self.close()
        for number in range(self._files - 1, 0, -1):
            older = place(self._storage, self._container, number - 1)
            if older.exists():
                older.replace(place(self._storage, self._container, number))
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(place(self._storage, self._container), flags, 0o600)
        self._size = os.fstat(self._fd).st_size


def _records(stamp: bytes, data: bytes) -> Iterator[bytes]:
    *lines, rest = data.split(b"\n")
    for line in lines:
        yield stamp + b"F " + line + b"\n"
    if rest:
        yield stamp + b"P " + rest + b"\n"


def _now() -> str:
    """RFC 3339 with nanoseconds, UTC."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"


def read(storage: Path, container: str) -> Iterator[tuple[str, str, bytes]]:
    """(time, stream, bytes) of everything that is kept, oldest first."""
    yield from read_older(storage, container)
    path = place(storage, container)
    if path.exists():
        with path.open("rb") as file:
            yield from map(parse, file)


def read_older(storage: Path, container: str) -> Iterator[tuple[str, str, bytes]]:
    """All but what is in the newest file."""
    for number in range(FILES, 0, -1):
        path = place(storage, container, number)
        if path.exists():
            with path.open("rb") as file:
                yield from map(parse, file)


def parse(line: bytes) -> tuple[str, str, bytes]:
    """One line of the log; a line that is none of ours stands for itself."""
    try:
        when, stream, part, text = line.split(b" ", 3)
    except ValueError:
        return "", "stdout", line
    return when.decode(errors="replace"), stream.decode(errors="replace"), text if part == b"F" else text[:-1]
