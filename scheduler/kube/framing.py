"""How a watch is cut into events: JSON by lines, protobuf by lengths. Pure; one splitter per stream."""

from __future__ import annotations

from typing import Final, Protocol

LONGEST: Final = 1 << 24  # bytes; etcd refuses objects above 1.5 MB
_PREFIX: Final = 4  # bytes of a frame's length, big-endian


class TooLong(ValueError):
    """An event beyond all that the API server can hold."""


class Splitter(Protocol):
    """Bytes in as they come, whole events out."""

    def feed(self, content: bytes) -> list[bytes]:
        """The events that `content` completes.

        Raises:
            TooLong: what has come so far is no event.
        """
        ...


class LineSplitter:
    """Events that end with a newline."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, content: bytes) -> list[bytes]:
        """See `Splitter`."""
        head, newline, rest = content.partition(b"\n")
        self._parts.append(head)
        self._size += len(head)
        if self._size > LONGEST:
            raise TooLong(f"a line is longer than {LONGEST} bytes")
        if not newline:
            return []
        first = b"".join(self._parts)
        *others, last = rest.split(b"\n")
        self._parts, self._size = [last], len(last)
        return [first, *others]


class FrameSplitter:
    """Events behind their length; a stream of `application/vnd.kubernetes.protobuf;stream=watch`."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, content: bytes) -> list[bytes]:
        """See `Splitter`."""
        rest = self._rest
        rest += content
        found, at = [], 0
        while len(rest) - at >= _PREFIX:
            length = int.from_bytes(rest[at : at + _PREFIX], "big")
            if length > LONGEST:
                raise TooLong(f"a frame of {length} bytes")
            end = at + _PREFIX + length
            if end > len(rest):
                break
            found.append(bytes(rest[at + _PREFIX : end]))
            at = end
        del rest[:at]
        return found
