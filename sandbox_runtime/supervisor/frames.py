"""The wire between a command and a supervisor, on the control socket: frames of a length, a kind and a payload.

A connection begins with one JSON frame of the client, `{"op": …}`. Operations with streams (`attach`, `exec`) go on
with frames both ways and end with `{"exit": …}`; all others get one JSON frame back.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from sandbox_runtime.errors import SandboxError

HEADER = struct.Struct(">IB")
LARGEST = 1 << 20
WINDOW = (
    256 * 1024
)  # bytes of stdin that may be under way; the supervisor gives credit for what the guest took


class Kind(IntEnum):
    """What a frame carries."""

    JSON = 0
    STDIN = 1
    STDOUT = 2
    STDERR = 3
    STDIN_END = 4


class FrameBroken(SandboxError):
    """The other end does not keep to the frames."""


def encode(kind: Kind, payload: bytes) -> bytes:
    """One frame."""
    return HEADER.pack(len(payload), kind) + payload


def words(**fields: Any) -> bytes:
    """One JSON frame."""
    return encode(Kind.JSON, json.dumps(fields).encode())


class Decoder:
    """Bytes -> frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """The frames that are complete now. Raises FrameBroken."""
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            length, number = HEADER.unpack_from(self._buffer)
            if length > LARGEST or number not in _KINDS:
                raise FrameBroken(f"a frame of kind {number} with {length} bytes")
            if len(self._buffer) < HEADER.size + length:
                return
            payload = bytes(self._buffer[HEADER.size : HEADER.size + length])
            del self._buffer[: HEADER.size + length]
            yield Kind(number), payload


_KINDS = frozenset(Kind)


def parse(payload: bytes) -> dict[str, Any]:
    """The object of a JSON frame. Raises FrameBroken."""
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise FrameBroken("a JSON frame without an object")
    return found
