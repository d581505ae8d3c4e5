"""What containerd's snapshotters hand over, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox_runtime.rootfs.cache import LayerCache
from sandbox_runtime.rootfs.container import Room, root_of_snapshot
from sandbox_runtime.rootfs.errors import MountRefused
from sandbox_runtime.rootfs.join import descriptor
from sandbox_runtime.rootfs.plan import GuestMount
from sandbox_runtime.rootfs.snapshot import Block, Blocks, Directories, SnapshotMount, recognise


def overlay(*options: str) -> SnapshotMount:
    return SnapshotMount("overlay", "overlay", ("index=off", *options))


KNOWN: dict[str, tuple[list[SnapshotMount], Directories | Blocks]] = {
    "overlayfs": (
        [overlay("workdir=/9/work", "upperdir=/9/fs", "lowerdir=/2/fs:/1/fs")],
        Directories((Path("/1/fs"), Path("/2/fs")), Path("/9/fs")),
    ),
    "a view of overlayfs": ([overlay("lowerdir=/2:/1")], Directories((Path("/1"), Path("/2")), None)),
    "a colon in a path": ([overlay("lowerdir=/a\\:b:/1")], Directories((Path("/1"), Path("/a:b")), None)),
    "a first layer": ([SnapshotMount("bind", "/1/fs", ("rw", "rbind"))], Directories((), Path("/1/fs"))),
    "a view of one layer": (
        [SnapshotMount("bind", "/1/fs", ("ro", "rbind"))],
        Directories((Path("/1/fs"),), None),
    ),
    "devmapper": (
        [SnapshotMount("ext4", "/dev/mapper/x", ("discard",))],
        Blocks((), Block("ext4", Path("/dev/mapper/x"), False, ("discard",))),
    ),
    "blockfile": (
        [SnapshotMount("ext4", "/b/1", ("rw", "loop"))],
        Blocks((), Block("ext4", Path("/b/1"), False, ())),
    ),
    "a view of blockfile": (
        [SnapshotMount("ext4", "/b/1", ("ro", "loop"))],
        Blocks((Block("ext4", Path("/b/1"), True, ()),), None),
    ),
    "erofs under ext4": (
        [
            SnapshotMount("erofs", "/1.erofs", ("ro", "loop")),
            SnapshotMount("erofs", "/2.erofs", ("ro",)),
            SnapshotMount("ext4", "/w.img", ("rw", "loop")),
            SnapshotMount("format/mkdir/overlay", "overlay", ()),
        ],
        Blocks(
            (Block("erofs", Path("/2.erofs"), True, ()), Block("erofs", Path("/1.erofs"), True, ())),
            Block("ext4", Path("/w.img"), False, ()),
        ),
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_snapshotter_is_recognised(name: str) -> None:
    mounts, expected = KNOWN[name]
    assert recognise(mounts) == expected


@pytest.mark.parametrize(
    "mounts",
    [
        [],
        [SnapshotMount("zfs", "pool/1")],
        [overlay("upperdir=/u")],
        [SnapshotMount("erofs", "/m", ("device=/blob",))],
        [SnapshotMount("ext4", "/a"), SnapshotMount("ext4", "/b")],
        [SnapshotMount("bind", "/a"), SnapshotMount("bind", "/b")],
    ],
)
def test_what_cannot_be_a_disk_is_refused_by_name(mounts: list[SnapshotMount]) -> None:
    with pytest.raises(MountRefused):
        recognise(mounts)


def room(tmp_path: Path) -> Room:
    return Room(LayerCache(tmp_path / "cache"), tmp_path / "templates", "pod", "c0", tmp_path, "/run/c0")


def test_a_device_goes_through_unchanged(tmp_path: Path) -> None:
    plan = root_of_snapshot(room(tmp_path), [SnapshotMount("ext4", "/dev/mapper/x", ("discard",))], 1 << 30)
    assert [disk.files for disk in plan.disks] == [(Path("/dev/mapper/x"),)]
    assert plan.mounts == (GuestMount("ext4", "serial:c0-root", "/run/c0", ("discard",)),)
    assert plan.private == ()


def test_what_was_written_before_the_start_is_kept(tmp_path: Path) -> None:
    for name in ("1", "up", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "up/f").write_text("x")
    lowers = f"lowerdir={tmp_path}/1"
    kept = root_of_snapshot(room(tmp_path), [overlay(lowers, f"upperdir={tmp_path}/up")], 1 << 24)
    assert len(kept.disks[0].files) == 3
    kept.private[0].unlink()
    plain = root_of_snapshot(room(tmp_path), [overlay(lowers, f"upperdir={tmp_path}/empty")], 1 << 24)
    assert len(plain.disks[0].files) == 1


@pytest.mark.parametrize("path", ['a"b', "a\nb"])
def test_a_path_cannot_write_into_the_description_of_a_disk(path: str) -> None:
    with pytest.raises(ValueError, match="joined"):
        descriptor([(path, 4096)])
