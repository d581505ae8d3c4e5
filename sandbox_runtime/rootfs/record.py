"""What is written down beside a cached image, and what two looks at a file can tell. Pure but for `stamp`."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

FORMAT = 1  # of the images that `erofs.write` makes and of this record; another number is never read, only replaced


class Stamp(NamedTuple):
    """A file's identity and last change, from one stat(2): any write, truncation or exchange changes it."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Record(NamedTuple):
    """The record of one image.

    Attributes:
        digest: sha256 of the image file, hexadecimal.
        sealed: fs-verity guards the file: the kernel checks every block that is read.
    """

    key: str
    digest: str
    sealed: bool
    stamp: Stamp


def stamp(fd: int) -> Stamp:
    """Of an open file."""
    found = os.fstat(fd)
    return Stamp(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def encode(record: Record) -> bytes:
    """JSON, one object."""
    return json.dumps({"format": FORMAT, **record._asdict(), "stamp": list(record.stamp)}).encode()


def decode(text: bytes) -> Record | None:
    """None for anything that this version did not write."""
    try:
        fields = json.loads(text)
        if fields.pop("format") != FORMAT:
            return None
        return Record(
            str(fields["key"]),
            str(fields["digest"]),
            bool(fields["sealed"]),
            Stamp(*map(int, fields["stamp"])),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
