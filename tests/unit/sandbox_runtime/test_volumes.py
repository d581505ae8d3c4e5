"""What `-v` means, what a volume takes, and what never becomes a volume."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_runtime.errors import BadInput
from sandbox_runtime.model import Io, Mount, Volume, VolumeKind
from sandbox_runtime.rootfs.plan import GuestMount
from sandbox_runtime.volumes import virtiofs
from sandbox_runtime.volumes.plan import ShareOwner, bind, plan_volume
from sandbox_runtime.volumes.syntax import parse, parse_size

READ = {
    "/data:/mnt": Volume("v0", VolumeKind.VIRTIOFS, "/data"),
    "/data:/mnt:ro": Volume("v0", VolumeKind.VIRTIOFS, "/data", read_only=True),
    "block:/dev/sdb:/mnt": Volume("v0", VolumeKind.BLOCK, "/dev/sdb"),
    "block:/a/b.img:/mnt:ro,fs=xfs,gid=5": Volume(
        "v0", VolumeKind.BLOCK, "/a/b.img", fstype="xfs", read_only=True, fs_group=5
    ),
    "block:/dev/sdb:/mnt:riops=100,wbps=10M": Volume(
        "v0", VolumeKind.BLOCK, "/dev/sdb", io=Io(read_iops=100, write_bytes_per_second=10 << 20)
    ),
    "nfs:nas:/export/a:/mnt": Volume("v0", VolumeKind.NFS, "nas:/export/a"),
    "nfs:[fd00::1]:/export:/mnt:o=vers=4.1,o=hard": Volume(
        "v0", VolumeKind.NFS, "[fd00::1]:/export", options=("vers=4.1", "hard")
    ),
    "tmpfs:/mnt": Volume("v0", VolumeKind.TMPFS),
    "tmpfs:/mnt:64M": Volume("v0", VolumeKind.TMPFS, size_bytes=64 << 20),
    "tmpfs:/mnt:64Mi:ro": Volume("v0", VolumeKind.TMPFS, size_bytes=64 << 20, read_only=True),
    "disk:1G:/mnt:wiops=7": Volume("v0", VolumeKind.DISK, size_bytes=1 << 30, io=Io(write_iops=7)),
    "config:/etc/app:/mnt": Volume("v0", VolumeKind.COPY, "/etc/app", read_only=True),
    "config:/etc/app:/mnt:rw": Volume("v0", VolumeKind.COPY, "/etc/app", read_only=True),
}


@pytest.mark.parametrize("text", READ)
def test_an_option_is_read(text: str) -> None:
    found = parse(text, 0)
    assert found.volume == READ[text]
    assert (found.mount.path, found.mount.read_only) == ("/mnt", READ[text].read_only)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "/a",
        "/a:",
        ":/b",
        "a:/b",
        "/a:b",
        "/a:/b:rx",
        "block:/dev/x",
        "block::/b",
        "block:dev:/b",
        "nfs:/b",
        "nfs:h:b:/c",
        "nfs:a:b:/c:/d",
        "tmpfs:",
        "tmpfs:b",
        "tmpfs:/b:many",
        "disk:/b",
        "disk:1Q:/b",
        "disk:1G",
        "config:a:/b",
        "/a:/b:gid=x",
        "/a:/b:gid=99999999999",
        "/a:/b:riops=1",
        "tmpfs:/b:1M:fs=ext4",
        "block:/a:/b:fs=fat",
        "/a:/b\0",
        "block:/a:/b:riops=x",
    ],
)
def test_nonsense_is_refused_with_the_form_that_was_expected(text: str) -> None:
    with pytest.raises(BadInput):
        parse(text, 0)


@given(st.text(":/,=abro\0[]\n", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for kind in ("", "block:", "nfs:", "tmpfs:", "disk:", "config:"):
        try:
            found = parse(kind + text, 3)
        except BadInput:
            continue
        assert found.mount.path.startswith("/")
        plan = plan_volume(found.volume._replace(size_bytes=found.volume.size_bytes or 1), 3, Path("/s"))
        assert all(
            "\0" not in word for mount in plan.mounts for word in (mount.source, mount.target, *mount.options)
        )


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("1k", 1024), ("2MiB", 2 << 20), ("3Gi", 3 << 30), ("1T", 1 << 40)]
)
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_a_block_volume_is_one_disk_and_one_mount() -> None:
    io = Io(read_iops=5)
    plan = plan_volume(
        Volume("a" * 63, VolumeKind.BLOCK, "/dev/sdb", read_only=True, fs_group=7, io=io), 4, Path("/s")
    )
    (disk,), (mount,) = plan.disks, plan.mounts
    assert (disk.name, disk.files, disk.read_only, disk.io) == ("vol4", (Path("/dev/sdb"),), True, io)
    assert mount == GuestMount(
        "ext4", "serial:vol4", "/run/bulkhead/volumes/4", ("nosuid", "nodev", "ro"), fs_group=7
    )
    assert plan.new_disk is None


def test_an_empty_disk_is_made_for_the_sandbox_and_shows_no_lost_and_found() -> None:
    plan = plan_volume(Volume("v", VolumeKind.DISK, size_bytes=5 << 20, fs_group=7), 0, Path("/s"))
    assert plan.new_disk == (Path("/s/vol0.ext4"), 5 << 20)
    assert plan.mounts[-1] == GuestMount(
        "bind", "/run/bulkhead/volumes/0.disk", plan.target, ("bind",), "volume", 7
    )


def test_tmpfs_is_limited_in_the_guest() -> None:
    (mount,) = plan_volume(Volume("v", VolumeKind.TMPFS, size_bytes=1 << 20), 0, Path("/s")).mounts
    assert "size=1048576" in mount.options


def test_copies_go_into_memory_of_the_guest_and_are_seen_read_only() -> None:
    found = parse("config:/etc/app:/conf", 0)
    plan = plan_volume(found.volume, 0, Path("/s"))
    assert plan.copy is not None
    assert (plan.copy.directory, plan.copy.target) == (Path("/etc/app"), plan.target)
    assert "ro" in bind(found.mount, plan, "c", 0).oci["options"]  # type: ignore[operator]


@pytest.mark.parametrize("sub_path", ["..", "a/../../b", "/etc", "a/..", "x\0y"])
def test_a_sub_path_that_climbs_is_refused(sub_path: str) -> None:
    plan = plan_volume(Volume("v", VolumeKind.TMPFS), 0, Path("/s"))
    with pytest.raises(BadInput):
        bind(Mount("v", "/mnt", sub_path), plan, "c", 0)


def test_a_sub_path_is_for_the_agent_to_resolve() -> None:
    plan = plan_volume(Volume("v", VolumeKind.TMPFS), 0, Path("/s"))
    found = bind(Mount("v", "/mnt", "a/b", read_only=True), plan, "c", 2)
    assert found.mount == GuestMount("bind", plan.target, "/run/bulkhead/binds/c/2", ("rbind", "ro"), "a/b")
    assert found.oci["destination"] == "/mnt"


@pytest.mark.parametrize("owner", ShareOwner)
@pytest.mark.parametrize("dialect", virtiofs.Dialect)
def test_both_programs_are_told_the_same(dialect: virtiofs.Dialect, owner: ShareOwner) -> None:
    plan = plan_volume(Volume("v", VolumeKind.VIRTIOFS, "/srv/a b", read_only=True), 1, Path("/s"), owner)
    assert plan.share is not None
    argv = virtiofs.argv(virtiofs.Program("/x/virtiofsd", dialect), plan.share, 9, 1234)
    before, after = argv[: argv.index("/x/virtiofsd")], argv[argv.index("/x/virtiofsd") + 1 :]
    assert before[4:] == ["ro", "1234" if owner is ShareOwner.SANDBOX else "0", "/srv/a b"]
    assert "--fd=9" in after
    assert ("source=/srv/a b" in after) == (dialect is virtiofs.Dialect.C)
    assert ("--shared-dir=/srv/a b" in after) == (dialect is virtiofs.Dialect.RUST)
    assert plan.mounts == (GuestMount("virtiofs", "vol1", plan.target, ("nosuid", "nodev", "ro")),)
