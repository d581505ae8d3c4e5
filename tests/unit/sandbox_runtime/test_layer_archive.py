"""Layers as strangers write them. Whatever a name, a link or a size says, nothing outside the image is touched."""

from __future__ import annotations

import gzip
import hashlib
import io
import stat
import struct
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from sandbox_runtime.rootfs.below import Below
from sandbox_runtime.rootfs.erofs.read import ImageReader
from sandbox_runtime.rootfs.errors import DigestMismatch, LayerCorrupt, LayerRefused
from sandbox_runtime.rootfs.layer.archive import write_archive
from sandbox_runtime.rootfs.layer.limits import LayerLimits
from tests.support.layers import archive, build, describe_image, member

FILE, DIR, LINK, SYM, CHR, BLK, FIFO = (
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.FIFOTYPE,
)
SMALL = LayerLimits(stream_bytes=1 << 20, entries=100, held_bytes=1 << 16, depth=20)


def pax(**records: str) -> dict[str, Any]:
    return {"pax_headers": records}


REFUSED = {
    "a name that climbs out": ("path-escapes", [member("../../etc/passwd")]),
    "a name that climbs inside": ("path-escapes", [member("a/../../b")]),
    "an absolute name that climbs": ("path-escapes", [member("/../x")]),
    "a whiteout that climbs": ("path-escapes", [member("../.wh.x")]),
    "a hard link that climbs": ("path-escapes", [member("a", LINK, linkname="../../etc/shadow")]),
    "a hard link to nothing": ("hard-link", [member("a", LINK, linkname="/etc/shadow")]),
    "a hard link to a directory": ("hard-link", [member("d", DIR), member("a", LINK, linkname="d")]),
    "a hard link to the root": ("hard-link", [member("a", LINK, linkname="/")]),
    "a member below a file": ("not-a-directory", [member("a"), member("a/b")]),
    "a loop of symlinks": (
        "not-a-directory",
        [member("a", SYM, linkname="b"), member("b", SYM, linkname="a"), member("a/x")],
    ),
    "a symlink to itself": ("not-a-directory", [member("a", SYM, linkname="a"), member("a/x")]),
    "a name with NUL": ("bad-name", [member("a", **pax(path="a\0b"))]),
    "a name beyond 255 bytes": ("bad-name", [member("n" * 256)]),
    "a path beyond 4096 bytes": ("path-too-long", [member("/".join(["d" * 200] * 30))]),
    "a root that is a file": ("malformed", [member(".", CHR)]),
    "a whiteout of nothing": ("malformed", [member("a/.wh.")]),
    "a whiteout of the parent": ("malformed", [member("a/.wh...")]),
    "an unknown type": ("unknown-type", [member("a", b"V")]),
    "a sparse member": ("sparse", [member("a", **pax(**{"GNU.sparse.major": "1"}))]),
    "a negative size": ("malformed", [member("a", **pax(size="-5"))]),
    "a size that is no number": ("malformed", [member("a", **pax(size="1_0"))]),
    "a size beyond the archive": ("truncated", [member("a", **pax(size="999999"))]),
    "an owner beyond 32 bits": ("malformed", [member("a", **pax(uid=str(1 << 40)))]),
    "a time beyond 64 bits": ("malformed", [member("a", **pax(mtime="9" * 19))]),
    "a device beyond Linux": ("malformed", [member("a", CHR, devmajor=5000, devminor=1)]),
    "an extension of megabytes": ("extension-too-large", [member("a", **pax(comment="x" * (2 << 20)))]),
    "attributes of megabytes": (
        "too-much-metadata",
        [member(f"f{n}", **pax(**{"SCHILY.xattr.user.a": "x" * 60_000})) for n in range(3)],
    ),
    "too many entries": ("too-many-entries", [member(f"f{n}") for n in range(101)]),
    "too deep": ("too-deep", [member("/".join("d" * 25))]),
    "deeper through symlinks": (
        "too-deep",
        [
            member("/".join("a" * 15), DIR),
            member("s", SYM, linkname="/".join("a" * 15)),
            member("s/" + "/".join("b" * 15)),
        ],
    ),
    "too many bytes": ("too-large", [member("a", content=bytes(2 << 20))]),
}


@pytest.mark.parametrize("attack", REFUSED)
def test_an_attack_is_refused_by_name(tmp_path: Path, attack: str) -> None:
    code, members = REFUSED[attack]
    limits = SMALL if code.startswith("too-") else LayerLimits()
    with pytest.raises(LayerRefused) as refused:
        build(tmp_path, archive(*members), limits=limits)
    assert refused.value.code == code


@pytest.mark.parametrize("cut", [1, 100, 511, 513, 700, 1023])
def test_an_archive_that_ends_early_is_refused(tmp_path: Path, cut: int) -> None:
    layer = archive(member("a", content=b"x" * 600))
    with pytest.raises(LayerRefused, match="truncated"):
        build(tmp_path, layer[:cut])


def test_a_damaged_header_is_refused(tmp_path: Path) -> None:
    layer = bytearray(archive(member("a")))
    layer[0] ^= 1
    with pytest.raises(LayerRefused, match="checksum"):
        build(tmp_path, bytes(layer))


def test_a_gzip_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    bomb = gzip.compress(archive(member("a", content=bytes(64 << 20))))
    assert len(bomb) < 100_000
    with pytest.raises(LayerRefused, match="too-large"):
        build(tmp_path, bomb, limits=SMALL)
    assert (tmp_path / "layer.erofs").stat().st_blocks * 512 < 2 << 20


def test_bytes_behind_the_archive_count_towards_the_limit(tmp_path: Path) -> None:
    with pytest.raises(LayerRefused, match="too-large"):
        build(tmp_path, gzip.compress(archive(member("a")) + bytes(64 << 20)), limits=SMALL)


@pytest.mark.parametrize("damage", ["cut", "flip", "garbage"])
def test_a_broken_gzip_stream_is_refused(tmp_path: Path, damage: str) -> None:
    packed = bytearray(gzip.compress(archive(member("a", content=bytes(range(256)) * 100))))
    if damage == "cut":
        del packed[-30:]
    elif damage == "flip":
        packed[len(packed) // 2] ^= 0xFF
    else:
        packed += b"garbage"
    with pytest.raises(LayerRefused):
        build(tmp_path, bytes(packed))


def test_all_compressions_give_the_same_image(tmp_path: Path) -> None:
    layer = archive(member("d", DIR), member("d/a", content=b"hello" * 10_000))
    zstd = subprocess.run(["zstd", "-qc"], input=layer, capture_output=True, check=True).stdout
    packed = [layer, gzip.compress(layer), gzip.compress(layer[:700]) + gzip.compress(layer[700:]), zstd]
    images = []
    for number, blob in enumerate(packed):
        (tmp_path / str(number)).mkdir()
        images.append(build(tmp_path / str(number), blob).read_bytes())
    assert len(set(images)) == 1


def test_a_broken_zstd_stream_is_refused(tmp_path: Path) -> None:
    layer = archive(member("a", content=bytes(range(256)) * 100))
    zstd = subprocess.run(["zstd", "-qc"], input=layer, capture_output=True, check=True).stdout
    with pytest.raises(LayerRefused):
        build(tmp_path, zstd[:-20])


def test_content_is_held_to_its_digest(tmp_path: Path) -> None:
    layer = archive(member("a", content=b"x"))
    right = "sha256:" + hashlib.sha256(layer).hexdigest()
    build(tmp_path, gzip.compress(layer), diff_id=right)
    with pytest.raises(DigestMismatch):
        build(tmp_path, gzip.compress(archive(member("a", content=b"y"))), diff_id=right)


# --- what a good layer means ----------------------------------------------------------------------------------


def names(image: Path) -> set[str]:
    return {path.decode() for path in describe_image(image)} - {""}


def test_symlinks_lead_into_the_container_only(tmp_path: Path) -> None:
    layer = archive(
        member("etc", SYM, linkname="/../../../real"),
        member("up", SYM, linkname="../../.."),
        member("up/f"),
        member("etc/passwd"),
    )
    assert names(build(tmp_path, layer)) == {"/etc", "/up", "/f", "/real", "/real/passwd"}


def test_whiteouts_become_what_overlayfs_reads(tmp_path: Path) -> None:
    image = build(
        tmp_path,
        archive(
            member("d", DIR),
            member("d/.wh.gone"),
            member("o", DIR),
            member("o/.wh..wh..opq"),
            member("o/.wh.useless"),
            member("back", DIR),
            member(".wh.back"),
            member("kept"),
            member(".wh.kept"),
            member(".wh..wh.plnk", DIR),
        ),
    )
    found = describe_image(image)
    assert names(image) == {"/d", "/d/gone", "/o", "/back", "/kept"}
    assert stat.S_ISCHR(found[b"/d/gone"].mode)
    assert found[b"/d/gone"].device == (0, 0)
    assert found[b"/o"].xattrs == found[b"/back"].xattrs == {b"trusted.overlay.opaque": b"y"}
    assert stat.S_ISREG(found[b"/kept"].mode)


def test_an_image_cannot_steer_the_overlay(tmp_path: Path) -> None:
    records = {
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.user.kind": "x",
        "SCHILY.xattr.odd": "x",
    }
    image = build(tmp_path, archive(member("a", DIR, **pax(**records))))
    assert describe_image(image)[b"/a"].xattrs == {b"user.kind": b"x"}


def test_the_last_member_of_a_name_counts(tmp_path: Path) -> None:
    image = build(
        tmp_path,
        archive(
            member("a", content=b"1"),
            member("b", LINK, linkname="a"),
            member("a", content=b"2"),
            member("d", DIR, mode=0o700),
            member("d/x"),
            member("d", DIR, mode=0o711),
            member("e", DIR),
            member("e/x"),
            member("e", content=b"file"),
        ),
    )
    found = describe_image(image)
    assert (found[b"/a"].content, found[b"/b"].content, found[b"/b"].links) == (b"2", b"1", 1)
    assert found[b"/d"].mode == stat.S_IFDIR | 0o711
    assert names(image) == {"/a", "/b", "/d", "/d/x", "/e"}


def test_a_directory_that_is_not_stated_is_that_of_the_layers_below(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    base = build(
        tmp_path / "base",
        archive(
            member("var", DIR, mode=0o1777, uid=7),
            member("usr/lib", DIR),
            member("lib", SYM, linkname="usr/lib"),
        ),
    )
    with ImageReader(base) as reader:
        image = build(
            tmp_path, archive(member("var/x"), member("lib/libc.so"), member("new/y")), below=Below([reader])
        )
    found = describe_image(image)
    assert (found[b"/var"].mode & 0o7777, found[b"/var"].uid) == (0o1777, 7)
    assert found[b"/new"].mode & 0o7777 == 0o755
    assert names(image) == {"/var", "/var/x", "/usr", "/usr/lib", "/usr/lib/libc.so", "/new", "/new/y"}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_large_numbers_of_every_dialect(tmp_path: Path, form: int) -> None:
    long = "d/" + "n" * 200
    image = build(
        tmp_path, archive(member(long, uid=3_000_000_000), member("s", SYM, linkname="t" * 3000), form=form)
    )
    found = describe_image(image)
    assert found[b"/" + long.encode()].uid == 3_000_000_000
    assert found[b"/s"].links == 1
    with ImageReader(image) as reader:
        inode = reader.lookup(b"s")
        assert inode is not None
        assert reader.content(inode) == b"t" * 3000


def test_junk_never_does_worse_than_a_refusal(tmp_path: Path) -> None:
    """One byte of a layer changed at a time."""
    layer = archive(
        member("d", DIR, **pax(path="d", mtime="1.5")),
        member("d/f", content=b"abc"),
        member("s", SYM, linkname="d"),
    )
    outcomes = set()
    for at in range(0, len(layer) - 1024, 11):
        broken = bytearray(layer)
        broken[at] ^= 0x55
        with (tmp_path / "out").open("w+b") as target:
            try:
                write_archive(io.BytesIO(bytes(broken)), target.fileno())
                outcomes.add("made")
            except LayerRefused:
                outcomes.add("refused")
    assert outcomes == {"made", "refused"}


def test_equal_layers_give_equal_images(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    layer = archive(
        *[
            member(
                f"f{n}",
                content=bytes([n]) * n * 100,
                **pax(**{"SCHILY.xattr.user.b": "1", "SCHILY.xattr.user.a": "2"}),
            )
            for n in range(50)
        ]
    )
    assert build(tmp_path, layer).read_bytes() == build(tmp_path / "a", layer).read_bytes()


def test_a_damaged_image_is_noticed_by_its_reader(tmp_path: Path) -> None:
    image = build(tmp_path, archive(member("a")))
    content = bytearray(image.read_bytes())
    struct.pack_into("<H", content, 1024 + 14, 9999)
    image.write_bytes(bytes(content))
    with pytest.raises(LayerCorrupt):
        ImageReader(image)
