"""The structures of erofs on disk, little-endian. Pure.

Source: Linux `fs/erofs/erofs_fs.h`. Only what an uncompressed image needs: extended inodes, plain and inline data,
inline extended attributes. Every kernel since 5.4 reads it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

BLOCK = 4096
SLOT = 32  # an inode's number (nid) counts 32-byte slots from the start of the metadata
SUPER_OFFSET = 1024
MAGIC = 0xE0F5E1E2
CHECKSUMMED = 1  # feature_compat bit: crc32c of the rest of the superblock's block
MAX_BLOCKS = 1 << 32
NAME_MAX = 255

SUPER = struct.Struct("<IIIBBHQQIIII16s16sIHHH38x")
INODE = struct.Struct("<HHHHQIIIIqII16x")
COMPACT = struct.Struct("<HHHHIIIHHI")
XATTR_HEADER = struct.Struct("<IB7x")
XATTR_ENTRY = struct.Struct("<BBH")
DIRENT = struct.Struct("<QHBx")

PLAIN, INLINE = 0, 2
EXTENDED = 1
# The prefix of an attribute's name is stored as a number.
XATTR_PREFIXES = (
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
)
XATTR_BODY_MAX = 65534 * 4


class Super(NamedTuple):
    """What the first block says.

    Attributes:
        blocks: of 4096 bytes, in the whole image.
        meta_block: where inode number 0 would be.
    """

    root: int
    inodes: int
    blocks: int
    meta_block: int
    uuid: bytes


def pack_super(value: Super) -> bytes:
    """The first block of the image, with its checksum."""
    block = bytearray(BLOCK)
    SUPER.pack_into(
        block, SUPER_OFFSET, MAGIC, 0, CHECKSUMMED, 12, 0, value.root, value.inodes, 0, 0, value.blocks,
        value.meta_block, 0, value.uuid, b"", 0, 0, 0, 0,
    )  # fmt: skip
    struct.pack_into("<I", block, SUPER_OFFSET + 4, crc32c(bytes(block[SUPER_OFFSET:])))
    return bytes(block)


def unpack_super(block: bytes) -> Super | None:
    """None where this is no such image, or the checksum is wrong."""
    fields = SUPER.unpack_from(block, SUPER_OFFSET)
    stripped = bytearray(block[SUPER_OFFSET:BLOCK])
    stripped[4:8] = bytes(4)
    if fields[0] != MAGIC or fields[3] != 12 or fields[1] != crc32c(bytes(stripped)):
        return None
    return Super(fields[5], fields[6], fields[9], fields[10], fields[12])


def encode_device(major: int, minor: int) -> int:
    """new_encode_dev() of the kernel: 12 bits of major, 20 of minor."""
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)


def decode_device(value: int) -> tuple[int, int]:
    """(major, minor) of what `encode_device` made."""
    return (value >> 8) & 0xFFF, (value & 0xFF) | ((value >> 12) & 0xFFF00)


def split_xattr(name: bytes) -> tuple[int, bytes] | None:
    """(number of the prefix, rest of the name); None for a name that erofs cannot hold."""
    for index, prefix in XATTR_PREFIXES:
        if name == prefix and index in (2, 3):
            return index, b""
        if index not in (2, 3) and name.startswith(prefix) and len(name) > len(prefix):
            return index, name[len(prefix) :]
    return None


def pack_xattrs(xattrs: dict[bytes, bytes]) -> bytes:
    """The body that follows the inode, sorted so that equal layers give equal images. Empty without attributes."""
    entries = bytearray()
    for name in sorted(xattrs):
        split = split_xattr(name)
        if split is None:
            raise ValueError(name)
        index, rest = split
        entries += XATTR_ENTRY.pack(len(rest), index, len(xattrs[name])) + rest + xattrs[name]
        entries += bytes(-len(entries) % 4)
    return XATTR_HEADER.pack(0, 0) + bytes(entries) if entries else b""


def xattr_count(body: bytes) -> int:
    """The field i_xattr_icount: 4-byte units after the 12-byte header, plus one; 0 for no body."""
    return (len(body) - XATTR_HEADER.size) // 4 + 1 if body else 0


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC = _crc_table()


def crc32c(data: bytes) -> int:
    """Castagnoli CRC from all ones, without the final inversion, as the kernel's crc32c(~0, …)."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value
