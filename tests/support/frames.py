"""Frames of HTTP/2 (RFC 9113, section 4 and 6) as bytes, whole ones and such as no library would write."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, HAS_PRIORITY = 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL, _, STREAM_CLOSED, FRAME_SIZE, REFUSED, CANCEL = range(
    9
)
COMPRESSION, CALM = 0x9, 0xB
MOST_STREAMS, INITIAL_WINDOW, MAX_FRAME, HEADER_LIST = 0x3, 0x4, 0x5, 0x6
"""Settings."""
FRAME_BYTES: Final = 16_384
"""What a frame may hold unless one side allows more; we do not."""
WINDOW_BYTES: Final = 65_535
"""What may be sent unasked, of a stream and of a connection, unless a side allows more."""
LARGEST_WINDOW: Final = (1 << 31) - 1
HEAD: Final = 9
_HEAD: Final = struct.Struct(">BHBBL")
_SETTING: Final = struct.Struct(">HL")

Frame = tuple[int, int, int, bytes]
"""(type, flags, stream, payload)"""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    size = len(payload)
    return _HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*each) for each in values.items()))


def number(value: int) -> bytes:
    """Four bytes, as WINDOW_UPDATE, RST_STREAM and GOAWAY have them."""
    return value.to_bytes(4, "big")


class FrameReader:
    """Bytes in as they come, whole frames out."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes."""
        rest = self._rest
        rest += data
        while len(rest) >= HEAD:
            high, low, kind, flags, stream = _HEAD.unpack_from(rest)
            end = HEAD + (high << 16 | low)
            if len(rest) < end:
                break
            content = bytes(rest[HEAD:end])
            del rest[:end]
            yield kind, flags, stream & LARGEST_WINDOW, content
