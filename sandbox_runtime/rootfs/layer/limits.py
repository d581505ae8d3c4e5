"""How large a layer may be before it is taken for an attack. Pure."""

from __future__ import annotations

from typing import NamedTuple


class LayerLimits(NamedTuple):
    """Bounds on one layer.

    Attributes:
        stream_bytes: of the uncompressed archive, headers and all; bounds time and disk.
        entries: names in the layer; each costs about 500 bytes of memory while the image is made.
        held_bytes: names, symlink targets and extended attributes, all held in memory.
        depth: directories above each other.
    """

    stream_bytes: int = 64 << 30
    entries: int = 1_000_000
    held_bytes: int = 256 << 20
    depth: int = 1024


DEFAULT = LayerLimits()
