"""containerd's mounts of a snapshot -> what it offers. Pure.

Forms (containerd docs/mounts.md and its snapshotters):
    overlayfs   {overlay, options lowerdir=a:b (a above b), upperdir=…, workdir=…}, or one {bind, source, ro|rw}
    devmapper   {ext4|xfs, source /dev/mapper/…}
    blockfile   {ext4, source FILE, options [loop]}
    erofs       {erofs, source FILE, [device=FILE…]} below, then {ext4, source FILE} or an overlay over them
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.rootfs.errors import MountRefused

BLOCK_KINDS = ("erofs", "ext4", "xfs", "squashfs")


class SnapshotMount(NamedTuple):
    """One mount as containerd hands it over."""

    kind: str
    source: str
    options: tuple[str, ...] = ()


class Directories(NamedTuple):
    """Read-only layers as directories, lowest first; `upper` is where runc would write, empty for a view."""

    lowers: tuple[Path, ...]
    upper: Path | None


class Block(NamedTuple):
    """A filesystem on a file or device.

    Attributes:
        options: of the guest's mount; those for the host (`loop`) are gone.
    """

    kind: str
    source: Path
    read_only: bool
    options: tuple[str, ...]


class Blocks(NamedTuple):
    """Filesystems that came as disks: read-only ones, uppermost first, and the writable one, if any."""

    lowers: tuple[Block, ...]
    upper: Block | None


def recognise(mounts: Sequence[SnapshotMount]) -> Directories | Blocks:
    """Which of the two it is.

    Raises:
        MountRefused: neither, with the mount named.
    """
    if not mounts:
        raise MountRefused("the snapshot has no mounts")
    if all(mount.kind in BLOCK_KINDS for mount in mounts):
        return _blocks([_block(mount) for mount in mounts])
    if len(mounts) == 1 and mounts[0].kind == "overlay":
        return _overlay(mounts[0])
    if len(mounts) == 1 and mounts[0].kind in ("bind", "rbind"):
        return _bind(mounts[0])
    if all(mount.kind in BLOCK_KINDS for mount in mounts[:-1]) and mounts[-1].kind.endswith("overlay"):
        return _blocks([_block(mount) for mount in mounts[:-1]])
    raise MountRefused(", ".join(f"{mount.kind} of {mount.source}" for mount in mounts))


def _overlay(mount: SnapshotMount) -> Directories:
    options = dict(option.split("=", 1) for option in mount.options if "=" in option)
    if "lowerdir" not in options:
        raise MountRefused("an overlay without lowerdir")
    lowers = tuple(Path(place) for place in reversed(_split_lowers(options["lowerdir"])))
    return Directories(lowers, Path(options["upperdir"]) if "upperdir" in options else None)


def _split_lowers(text: str) -> list[str]:
    """At colons; overlayfs writes a colon of a path as `\\:`."""
    parts, current, escaped = [], "", False
    for letter in text:
        if escaped:
            current, escaped = current + letter, False
        elif letter == "\\":
            escaped = True
        elif letter == ":":
            parts.append(current)
            current = ""
        else:
            current += letter
    return [part for part in [*parts, current] if part]


def _bind(mount: SnapshotMount) -> Directories:
    """A view of one layer, or a snapshot without parents, which is nothing but what will be written."""
    place = Path(mount.source)
    return Directories((place,), None) if "ro" in mount.options else Directories((), place)


def _block(mount: SnapshotMount) -> Block:
    if any(option.startswith("device=") for option in mount.options):
        raise MountRefused(f"{mount.source}: an erofs image whose blobs are on other devices")
    read_only = mount.kind in ("erofs", "squashfs") or "ro" in mount.options
    kept = tuple(option for option in mount.options if option not in ("loop", "ro", "rw"))
    return Block(mount.kind, Path(mount.source), read_only, kept)


def _blocks(found: list[Block]) -> Blocks:
    """In the order in which containerd lists them: the lowest first."""
    uppers = [block for block in found if not block.read_only]
    if len(uppers) > 1:
        raise MountRefused("more than one writable filesystem under one root")
    return Blocks(tuple(block for block in reversed(found) if block.read_only), uppers[0] if uppers else None)
