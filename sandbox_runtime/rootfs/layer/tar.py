"""Reads the entries of a tar stream: ustar, GNU long names, pax headers. Strict, bounded, in one pass.

The standard library's reader is made for archives that one trusts: it holds an extension header of any size in
memory and understands broken fields in the friendliest way. A layer comes from a stranger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from sandbox_runtime.rootfs.errors import LayerRefused

RECORD = 512
EXTENSION_MAX = 1 << 20  # bytes of one pax header or GNU long name; real ones stay far below
PATH_MAX = 4096
_XATTR = b"SCHILY.xattr."


class Entry(NamedTuple):
    """One member.

    Attributes:
        kind: the type flag; `0` for every kind of regular file.
        device: (major, minor).
        read: `read(n)` gives at most n further bytes of the content, empty at its end.
    """

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    link: bytes
    device: tuple[int, int]
    xattrs: dict[bytes, bytes]
    read: Callable[[int], bytes]


class _Content:
    """The bytes of one member; what nobody read is skipped before the next header."""

    def __init__(
        self, source: Callable[[int], bytes], size: int, seek: Callable[[int], object] | None
    ) -> None:
        self._source = source
        self._seek = seek
        self._left = size
        self._padding = -size % RECORD

    def read(self, size: int) -> bytes:
        piece = self._source(min(size, self._left)) if self._left else b""
        self._left -= len(piece)
        return piece

    def skip(self) -> None:
        self._left += self._padding
        self._padding = 0
        if self._seek and self._left:
            self._seek(self._left)
            self._left = 0
        while self._left:
            if not self.read(1 << 16):
                raise LayerRefused("truncated", "the archive ends inside a member")


def entries(source: Callable[[int], bytes], seek: Callable[[int], object] | None = None) -> Iterator[Entry]:
    """Every member of the archive that `source(n)` gives piece by piece.

    Args:
        source: the next bytes, at most n; empty at the end.
        seek: goes forward by so many bytes; without it contents that nobody wants are read.

    Raises:
        LayerRefused: malformed, truncated, or an extension that is too large.
    """
    shared: dict[bytes, bytes] = {}
    own: dict[bytes, bytes] = {}
    while (header := _header(source)) is not None:
        kind, content = header[156:157], _Content(source, _number(header[124:136]), seek)
        if kind in (b"x", b"g", b"L", b"K"):
            _extend(kind, _extension(content, _number(header[124:136])), shared, own)
        else:
            entry, content = _entry(header, {**shared, **own}, source, seek)
            own = {}
            yield entry
        content.skip()


def _header(source: Callable[[int], bytes]) -> bytes | None:
    """The next header; None at the end, which is a zero record or the end of the stream."""
    header = b""
    while len(header) < RECORD:
        piece = source(RECORD - len(header))
        if not piece:
            break
        header += piece
    if not header or header == bytes(RECORD):
        return None
    if len(header) < RECORD:
        raise LayerRefused("truncated", "the archive ends inside a header")
    stated = _number(header[148:156])
    if stated != sum(header[:148]) + 256 + sum(header[156:]):
        raise LayerRefused("malformed", "the checksum of a header is wrong")
    return header


def _extension(content: _Content, size: int) -> bytes:
    if size > EXTENSION_MAX:
        raise LayerRefused("extension-too-large", f"a header of {size} bytes")
    pieces = bytearray()
    while len(pieces) < size:
        piece = content.read(size - len(pieces))
        if not piece:
            raise LayerRefused("truncated", "the archive ends inside an extended header")
        pieces += piece
    return bytes(pieces)


def _extend(kind: bytes, body: bytes, shared: dict[bytes, bytes], own: dict[bytes, bytes]) -> None:
    if kind == b"L":
        own[b"path"] = body.rstrip(b"\0")
    elif kind == b"K":
        own[b"linkpath"] = body.rstrip(b"\0")
    else:
        (shared if kind == b"g" else own).update(_pax(body))


def _pax(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Records of the form `<length> <key>=<value>\\n`; values may hold any byte."""
    at = 0
    while at < len(body):
        space = body.find(b" ", at, at + 20)
        digits = body[at:space] if space > 0 else b""
        end = at + int(digits) if digits.isdigit() else -1
        key, equals, value = body[space + 1 : end - 1].partition(b"=")
        if not space < end <= len(body) or not equals or body[end - 1 : end] != b"\n":
            raise LayerRefused("malformed", "a pax record is broken")
        yield key, value
        at = end


def _entry(
    header: bytes,
    pax: dict[bytes, bytes],
    source: Callable[[int], bytes],
    seek: Callable[[int], object] | None,
) -> tuple[Entry, _Content]:
    if any(key.startswith(b"GNU.sparse") for key in pax) or header[156:157] == b"S":
        raise LayerRefused("sparse", "sparse members are not part of the OCI layer format")
    kind = b"0" if header[156:157] in (b"0", b"\0", b"7") else header[156:157]
    size = _decimal(pax[b"size"]) if b"size" in pax else _number(header[124:136])
    content = _Content(source, size if kind == b"0" else 0, seek)
    entry = Entry(
        name=pax.get(b"path") or _name(header),
        kind=kind,
        mode=_number(header[100:108]) & 0o7777,
        uid=_decimal(pax[b"uid"]) if b"uid" in pax else _number(header[108:116]),
        gid=_decimal(pax[b"gid"]) if b"gid" in pax else _number(header[116:124]),
        size=size if kind == b"0" else 0,
        mtime_ns=_time(pax[b"mtime"]) if b"mtime" in pax else _number(header[136:148], signed=True) * 10**9,
        link=pax.get(b"linkpath") or _text(header[157:257]),
        device=(_number(header[329:337]), _number(header[337:345])),
        xattrs={key[len(_XATTR) :]: value for key, value in pax.items() if key.startswith(_XATTR)},
        read=content.read,
    )
    if len(entry.name) > PATH_MAX or len(entry.link) > PATH_MAX:
        raise LayerRefused("path-too-long", f"a path of {max(len(entry.name), len(entry.link))} bytes")
    return entry, content


def _name(header: bytes) -> bytes:
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + _text(header[:100]) if prefix else _text(header[:100])


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _number(field: bytes, signed: bool = False) -> int:
    """Octal text, or GNU base-256 where the first bit is set."""
    if field[0] & 0x80:
        value = (
            int.from_bytes(field, "big", signed=True)
            if field[0] == 0xFF
            else int.from_bytes(field[1:], "big")
        )
        if value < 0 and not signed:
            raise LayerRefused("malformed", "a number below zero")
        return value
    text = field.split(b"\0", 1)[0].strip()
    try:
        return _natural(text, 8) if text else 0
    except ValueError:
        raise LayerRefused("malformed", f"{field!r} is no octal number") from None


def _decimal(text: bytes) -> int:
    try:
        return _natural(text, 10)
    except ValueError:
        raise LayerRefused("malformed", f"{text[:40]!r} is no number") from None


def _natural(text: bytes, base: int) -> int:
    if not text.isdigit() or len(text) > 20:  # int() would also take signs, spaces and underscores
        raise ValueError(text)
    return int(text, base)


def _time(text: bytes) -> int:
    """Seconds with a fraction, in nanoseconds."""
    sign = -1 if text.startswith(b"-") else 1
    whole, _, fraction = text.lstrip(b"-").partition(b".")
    return sign * (_decimal(whole or b"0") * 10**9 + _decimal(fraction[:9].ljust(9, b"0")))
