"""What `-v` means. Pure.

    HOST:GUEST[:OPTIONS]              a host directory, by virtiofs
    block:DEVICE-or-FILE:GUEST[:…]    a disk with a file system on it
    nfs:SERVER:/PATH:GUEST[:…]        mounted by the guest's own kernel; an IPv6 address in brackets
    tmpfs:GUEST[:SIZE[:…]]            memory of the guest
    disk:SIZE:GUEST[:…]               an empty disk, gone with the sandbox
    config:DIRECTORY:GUEST[:…]        small files, copied in and kept current

OPTIONS, with commas: `ro`, `gid=N`, `sub=PATH`, `fs=ext4`, `riops=N`, `wiops=N`, `rbps=SIZE`, `wbps=SIZE`,
and for nfs any option of mount.nfs(8) as `o=OPTION`. Sizes take K, M, G, T (powers of 1024).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sandbox_runtime.errors import BadInput
from sandbox_runtime.model import Io, Mount, Volume, VolumeKind

_SIZE = re.compile(r"([0-9]{1,15})([KMGT]?)(?:i?B?)?", re.IGNORECASE)
_POWER = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_NFS = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:/]+):(/[^:]*):(.*)", re.DOTALL)
_FILE_SYSTEMS = ("ext4", "xfs", "erofs", "nfs", "nfs4")
_RATES = {
    "riops": "read_iops", "wiops": "write_iops", "rbps": "read_bytes_per_second", "wbps": "write_bytes_per_second",
}  # fmt: skip


class Parsed(NamedTuple):
    """One `-v`: the volume, and where the container sees it."""

    volume: Volume
    mount: Mount


def parse(text: str, number: int) -> Parsed:
    """Read the `number`-th `-v`.

    Raises:
        BadInput: with the form that was expected.
    """
    kind, _, rest = text.partition(":")
    return _KINDS.get(kind, _shared)(text, rest, f"v{number}")


def parse_size(text: str) -> int:
    """Bytes: digits and K, M, G or T, powers of 1024; `64M`, `64Mi` and `64MiB` are the same."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise BadInput(f"{text!r} is no size: write digits and K, M, G or T")
    return int(found[1]) << _POWER[found[2].upper()]


def _shared(text: str, rest: str, name: str) -> Parsed:
    form = "HOST:GUEST[:ro], or block:, nfs:, tmpfs:, disk:, config: before it"
    source, guest, options = _three(text, text, form)
    return _made(text, Volume(name, VolumeKind.VIRTIOFS, _absolute(text, source)), guest, options)


def _block(text: str, rest: str, name: str) -> Parsed:
    source, guest, options = _three(text, rest, "block:DEVICE-or-FILE:GUEST[:OPTIONS]")
    return _made(text, Volume(name, VolumeKind.BLOCK, _absolute(text, source)), guest, options)


def _nfs(text: str, rest: str, name: str) -> Parsed:
    found = _NFS.fullmatch(rest)
    if found is None:
        raise _wrong(text, "nfs:SERVER:/PATH:GUEST[:OPTIONS]")
    guest, _, options = found[3].partition(":")
    return _made(text, Volume(name, VolumeKind.NFS, f"{found[1]}:{found[2]}"), guest, options)


def _tmpfs(text: str, rest: str, name: str) -> Parsed:
    guest, _, others = rest.partition(":")
    size, _, options = others.partition(":")
    return _made(
        text, Volume(name, VolumeKind.TMPFS, size_bytes=parse_size(size) if size else 0), guest, options
    )


def _disk(text: str, rest: str, name: str) -> Parsed:
    size, guest, options = _three(text, rest, "disk:SIZE:GUEST[:OPTIONS]")
    return _made(text, Volume(name, VolumeKind.DISK, size_bytes=parse_size(size)), guest, options)


def _config(text: str, rest: str, name: str) -> Parsed:
    source, guest, options = _three(text, rest, "config:DIRECTORY:GUEST")
    volume = Volume(name, VolumeKind.COPY, _absolute(text, source), read_only=True)
    return _made(text, volume, guest, options)


_KINDS = {"block": _block, "nfs": _nfs, "tmpfs": _tmpfs, "disk": _disk, "config": _config}


def _three(text: str, rest: str, form: str) -> tuple[str, str, str]:
    first, colon, others = rest.partition(":")
    second, _, options = others.partition(":")
    if not first or not colon:
        raise _wrong(text, form)
    return first, second, options


def _made(text: str, volume: Volume, guest: str, options: str) -> Parsed:
    if not guest.startswith("/") or "\0" in text:
        raise _wrong(text, f"…:GUEST, an absolute path in the container; {guest!r} is none")
    mount = Mount(volume.name, guest, read_only=volume.read_only)
    for option in filter(None, options.split(",")):
        volume, mount = _apply(text, option, volume, mount)
    return Parsed(volume, mount)


def _apply(text: str, option: str, volume: Volume, mount: Mount) -> tuple[Volume, Mount]:
    key, equals, value = option.partition("=")
    if option in ("ro", "rw"):
        read_only = option == "ro" or volume.kind is VolumeKind.COPY
        return volume._replace(read_only=read_only), mount._replace(read_only=read_only)
    if key == "sub" and value:
        return volume, mount._replace(sub_path=value)
    if key == "gid" and value.isdecimal() and int(value) < 1 << 32:
        return volume._replace(fs_group=int(value)), mount
    if key == "fs" and value in _FILE_SYSTEMS and volume.kind in (VolumeKind.BLOCK, VolumeKind.NFS):
        return volume._replace(fstype=value), mount
    if key == "o" and value and volume.kind is VolumeKind.NFS:
        return volume._replace(options=(*volume.options, value)), mount
    if key in _RATES and equals and volume.kind in (VolumeKind.BLOCK, VolumeKind.DISK):
        return volume._replace(io=_limited(volume.io, key, value)), mount
    raise BadInput(f"-v {text}: no option {option!r} for a volume of kind {volume.kind}")


def _limited(io: Io, key: str, value: str) -> Io:
    return io._replace(**{_RATES[key]: parse_size(value)})


def _absolute(text: str, path: str) -> str:
    if not path.startswith("/"):
        raise BadInput(f"-v {text}: {path!r} is no absolute path on the host")
    return path


def _wrong(text: str, form: str) -> BadInput:
    return BadInput(f"-v {text}: expected {form}")
