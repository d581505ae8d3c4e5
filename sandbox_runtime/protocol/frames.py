"""Bytes <-> frames.

A frame is a 12-byte header, little-endian, and a payload:

    kind u8 | version u8 | zero u16 | id u32 | length u32 | payload

`id` is the number of a request (REQUEST, ANSWER, FAILURE) or of a stream (DATA, CREDIT, END, STOP). Streams go one way:
even numbers from host to guest, odd ones from guest to host. The host numbers both, upwards, and never reuses a number
within a session.

A session begins with a mark: 16 fixed bytes and a nonce of 16. The host sends it, the agent drops whatever session it
was in and answers with the same mark, then HELLO. Both ends skip bytes until they see it: a port can hold the tail of
a frame from a supervisor that died. An agent in the middle of a frame would take the mark for payload, so a host that
takes over a running guest first sends FILLER, longer than any frame may be.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from sandbox_runtime.protocol.errors import ProtocolViolation

VERSION = 1
MAGIC = b"\x00\xffbulkhead-wire\x01"
NONCE_BYTES = 16

REQUEST = 1  # host -> guest: JSON {"method", "params"}
ANSWER = 2  # guest -> host: JSON result of the request with this id
FAILURE = 3  # guest -> host: JSON {"code", "message"} instead of a result
EVENT = 4  # guest -> host: JSON {"event", "params"}; id counts events of the session from 1
DATA = 5  # bytes of a stream
CREDIT = 6  # u32: the receiver of a stream has room for so many bytes more
END = 7  # the sender of a stream will send no more
STOP = 8  # the receiver of a stream wants no more; the sender answers END
PING = 9  # host -> guest: eight bytes
PONG = 10  # guest -> host: the same eight bytes
HELLO = 11  # guest -> host: JSON, the first frame of a session

HEADER = struct.Struct("<BBHII")
CREDIT_BYTES = struct.Struct("<I")
PING_BYTES = 8

WINDOW = 128 * 1024  # bytes of one stream that may be under way before the receiver gives credit
MAX_DATA = (
    32 * 1024 - HEADER.size
)  # a frame of data is one 32 KiB write, the most that a virtio port takes at once
MAX_CONTROL = 1024 * 1024  # an OCI bundle's config.json, or the stats of every container
MAX_STREAMS = 256  # open at once: with WINDOW bounds what a guest can make the host hold to 32 MiB
MAX_NOISE = 4 * 1024 * 1024  # bytes skipped in search of a mark

_LARGEST = {
    REQUEST: MAX_CONTROL,
    ANSWER: MAX_CONTROL,
    FAILURE: MAX_CONTROL,
    EVENT: MAX_CONTROL,
    DATA: MAX_DATA,
    CREDIT: CREDIT_BYTES.size,
    END: 0,
    STOP: 0,
    PING: PING_BYTES,
    PONG: PING_BYTES,
    HELLO: MAX_CONTROL,
}

FILLER = bytes(MAX_CONTROL + HEADER.size)


class Frame(NamedTuple):
    """One frame: kind, request or stream number, payload."""

    kind: int
    id: int
    payload: bytes = b""


def encode(frame: Frame) -> bytes:
    """Header and payload; a payload above the limit of its kind is a fault of the caller (ValueError)."""
    if len(frame.payload) > _LARGEST[frame.kind]:
        raise ValueError(f"frame kind {frame.kind} carries at most {_LARGEST[frame.kind]} bytes")
    return HEADER.pack(frame.kind, VERSION, 0, frame.id, len(frame.payload)) + frame.payload


def mark(nonce: bytes) -> bytes:
    """The beginning of a session."""
    return MAGIC + nonce


class Decoder:
    """Collects bytes, gives frames. Holds at most one unfinished frame (1 MiB)."""

    def __init__(self, awaited_mark: bytes) -> None:
        """`awaited_mark`: every byte before it is skipped, at most MAX_NOISE of them."""
        self._mark = awaited_mark
        self._synchronised = False
        self._skipped = 0
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> list[Frame]:
        """Take what was read; return the frames that it completes. Raises ProtocolViolation."""
        self._buffer += data
        if not self._synchronised and not self._find_mark():
            return []
        frames = []
        at = 0
        while (frame := self._frame_at(at)) is not None:
            frames.append(frame)
            at += HEADER.size + len(frame.payload)
        del self._buffer[:at]
        return frames

    def _find_mark(self) -> bool:
        at = self._buffer.find(self._mark)
        if at < 0:
            keep = len(self._mark) - 1
            self._skipped += max(len(self._buffer) - keep, 0)
            del self._buffer[:-keep]
            if self._skipped > MAX_NOISE:
                raise ProtocolViolation("no-mark", f"{self._skipped} bytes without the mark of a session")
            return False
        del self._buffer[: at + len(self._mark)]
        self._synchronised = True
        return True

    def _frame_at(self, at: int) -> Frame | None:
        if len(self._buffer) - at < HEADER.size:
            return None
        kind, version, zero, number, length = HEADER.unpack_from(self._buffer, at)
        _check_header(kind, version, zero, length)
        begin = at + HEADER.size
        if len(self._buffer) - begin < length:
            return None
        return Frame(kind, number, bytes(memoryview(self._buffer)[begin : begin + length]))


def _check_header(kind: int, version: int, zero: int, length: int) -> None:
    if version != VERSION or zero or kind not in _LARGEST:
        raise ProtocolViolation("bad-header", f"kind {kind}, version {version}, zero field {zero}")
    if length > _LARGEST[kind]:
        raise ProtocolViolation("too-long", f"kind {kind} with {length} bytes, limit {_LARGEST[kind]}")
