"""Copies parts of files and leaves holes out, with the kernel doing the work where it can."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

_PIECE = 1 << 20
# Other filesystem, or one that cannot: copy_file_range(2).
_BY_HAND = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF)


def data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, end) of what is not a hole in the first `size` bytes."""
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole follows
                return
            raise
        if start >= size:
            return
        at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        yield start, at


def copy(source: int, start: int, target: int, at: int, size: int) -> int:
    """Copy `size` bytes from `start` to `at`. Returns how many there were, fewer where the source ends early."""
    done, kernel = 0, True
    while done < size:
        if kernel:
            try:
                step = os.copy_file_range(source, target, min(size - done, 1 << 30), start + done, at + done)
            except OSError as error:
                if error.errno not in _BY_HAND:
                    raise
                kernel = False
                continue
        else:
            piece = os.pread(source, min(size - done, _PIECE), start + done)
            step = os.pwrite(target, piece, at + done) if piece else 0
        if not step:
            break
        done += step
    return done
