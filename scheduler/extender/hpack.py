"""Header compression of HTTP/2 (RFC 7541), as far as a server needs it: everything is read, little is written. Pure.

Both tables of the RFC are facts: the static one (appendix A), and the lengths of the Huffman code (appendix B), which
is canonical, so that the codes follow from the lengths.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import Final

from scheduler.extender.errors import BadHeaders

Header = tuple[bytes, bytes]

TABLE_BYTES: Final = 4096
"""The dynamic table that a caller may use; the protocol's own default."""
ENTRY_BYTES: Final = 32  # what an entry counts beyond its name and value, section 4.1
LONGEST_SHIFT: Final = 28
LONGEST_PADDING: Final = 7
INDEXED, LITERAL_KEPT, RESIZE = 0x80, 0x40, 0x20

_NAMES: Final = (
    b":authority :method=GET :method=POST :path=/ :path=/index.html :scheme=http :scheme=https :status=200 "
    b":status=204 :status=206 :status=304 :status=400 :status=404 :status=500 accept-charset "
    b"accept-encoding=gzip,_deflate accept-language accept-ranges accept access-control-allow-origin age allow "
    b"authorization cache-control content-disposition content-encoding content-language content-length "
    b"content-location content-range content-type cookie date etag expect expires from host if-match "
    b"if-modified-since if-none-match if-range if-unmodified-since last-modified link location max-forwards "
    b"proxy-authenticate proxy-authorization range referer refresh retry-after server set-cookie "
    b"strict-transport-security transfer-encoding user-agent vary via www-authenticate"
)
STATIC: Final[tuple[Header, ...]] = tuple(
    (name, value.replace(b"_", b" "))
    for name, _, value in (entry.partition(b"=") for entry in _NAMES.split())
)

# Bits of the code of each byte; the last one is the end of a string, which never occurs inside one.
_BITS: Final = (
    "13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28 28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28 "
    "6 10 10 12 13 6 8 11 10 10 8 11 8 6 6 6 5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10 "
    "13 6 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 8 7 8 13 19 13 14 6 "
    "15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5 6 7 6 5 5 6 7 7 7 7 7 15 11 14 13 28 "
    "20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23 24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24 "
    "22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23 21 21 22 21 23 22 23 23 20 22 22 22 23 22 22 23 "
    "26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25 19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27 "
    "20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23 26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26 "
    "30"
)
_LENGTHS: Final = tuple(map(int, _BITS.split()))
END: Final = 256


def _codes() -> dict[int, int]:
    """Code with a leading 1, so that its length shows -> byte."""
    found, code, last = {}, 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(_LENGTHS)):
        code <<= length - last
        found[1 << length | code] = symbol
        code, last = code + 1, length
    return found


_CODES: Final = _codes()


class Decoder:
    """Reads the header blocks of one connection, in their order: each may refer to earlier ones."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: deque[Header] = deque()
        self._size, self._room = 0, TABLE_BYTES

    def read(self, block: bytes) -> list[Header]:
        """The headers of a block.

        Raises:
            BadHeaders: not HPACK, or more bytes than allowed; the connection cannot be read on.
        """
        found: list[Header] = []
        at = size = 0
        try:
            while at < len(block):
                at, header = self._field(block, at)
                if header is not None:
                    found.append(header)
                    size += len(header[0]) + len(header[1]) + ENTRY_BYTES
                    if size > self._most_bytes:
                        raise BadHeaders(f"more than {self._most_bytes} bytes of headers")
        except IndexError as error:
            raise BadHeaders("a header block that is cut off, or refers to nothing") from error
        return found

    def _field(self, block: bytes, at: int) -> tuple[int, Header | None]:
        first = block[at]
        if first & INDEXED:
            at, index = _integer(block, at, 7)
            return at, self._entry(index)
        if first & LITERAL_KEPT:
            at, header = self._literal(block, at, 6)
            self._keep(header)
            return at, header
        if first & RESIZE:
            at, room = _integer(block, at, 5)
            if room > TABLE_BYTES:
                raise BadHeaders(f"a table of {room} bytes")
            self._room = room
            self._evict()
            return at, None
        return self._literal(block, at, 4)

    def _literal(self, block: bytes, at: int, bits: int) -> tuple[int, Header]:
        at, index = _integer(block, at, bits)
        if index:
            name = self._entry(index)[0]
        else:
            at, name = _string(block, at)
        at, value = _string(block, at)
        return at, (name, value)

    def _entry(self, index: int) -> Header:
        if not index:
            raise BadHeaders("index 0")
        return STATIC[index - 1] if index <= len(STATIC) else self._kept[index - len(STATIC) - 1]

    def _keep(self, header: Header) -> None:
        self._kept.appendleft(header)
        self._size += len(header[0]) + len(header[1]) + ENTRY_BYTES
        self._evict()

    def _evict(self) -> None:
        while self._size > self._room:
            name, value = self._kept.pop()
            self._size -= len(name) + len(value) + ENTRY_BYTES


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """Section 5.1: as many bits of this byte, and where they are all set, sevens of the next ones."""
    most = (1 << bits) - 1
    value, at = block[at] & most, at + 1
    shift = 0
    while value >= most:
        if shift > LONGEST_SHIFT:
            raise BadHeaders("a number that is too large")
        byte, at = block[at], at + 1
        value += (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    return at, value


def _string(block: bytes, at: int) -> tuple[int, bytes]:
    packed = block[at] & 0x80
    at, length = _integer(block, at, 7)
    if at + length > len(block):
        raise BadHeaders("a string beyond its block")
    text = block[at : at + length]
    return at + length, unpacked(text) if packed else text


@lru_cache(1024)
def unpacked(text: bytes) -> bytes:
    """A string out of its Huffman code; what pads it to whole bytes are ones, fewer than eight."""
    found = bytearray()
    code = 1
    for byte in text:
        for shift in range(7, -1, -1):
            code = code << 1 | byte >> shift & 1
            symbol = _CODES.get(code)
            if symbol is not None:
                if symbol == END:
                    raise BadHeaders("a string that ends inside")
                found.append(symbol)
                code = 1
    if code.bit_length() - 1 > LONGEST_PADDING or code & (code + 1):
        raise BadHeaders("a string that is padded wrongly")
    return bytes(found)


def status_block(status: int, content_type: bytes, length: int, extra: bytes = b"") -> bytes:
    """The headers of an answer, none of them kept: `extra` are complete lines, each with its CRLF, as in HTTP/1.1."""
    block = b"\x88" if status == 200 else b"\x08\x03%d" % status
    block += b"\x0f\x10" + _plain(content_type) + b"\x0f\x0d" + _plain(b"%d" % length)
    for line in extra.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            block += b"\x00" + _plain(name.lower()) + _plain(value.strip())
    return block


def _plain(text: bytes) -> bytes:
    most = 127
    if len(text) < most:
        return bytes((len(text),)) + text
    head, left = bytearray((most,)), len(text) - most
    while left > most:
        head.append(left & 0x7F | 0x80)
        left >>= 7
    head.append(left)
    return bytes(head) + text
