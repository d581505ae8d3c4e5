"""The kernel's own erofs and overlayfs, and the distribution's fsck.erofs, read what was written."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sandbox_runtime.rootfs.cache import LayerCache
from sandbox_runtime.rootfs.erofs.merge import write_merged
from sandbox_runtime.rootfs.erofs.read import ImageReader
from sandbox_runtime.rootfs.errors import LayerRefused
from sandbox_runtime.rootfs.image.config import ImageConfig
from sandbox_runtime.rootfs.image.source import open_image
from sandbox_runtime.rootfs.join import descriptor
from sandbox_runtime.rootfs.layer.directory import write_directory
from sandbox_runtime.rootfs.lower import Identity, of_directories, of_image
from tests.support.layers import archive, build, describe_directory, describe_image, member, mounted

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(os.getuid() != 0, reason="mounting a loop device needs root"),
    pytest.mark.skipif(
        "\terofs\n" not in Path("/proc/filesystems").read_text(), reason="this kernel has no erofs"
    ),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One of everything that a snapshot directory can hold."""
    root = tmp_path / "tree"
    (root / "d/deep/er").mkdir(parents=True)
    (root / "many").mkdir()
    for number in range(3000):
        (root / "many" / f"{'n' * (number % 200)}{number}").write_bytes(b"x" * (number % 7))
    for size in (0, 1, 2047, 2048, 4095, 4096, 4097, 8192, 1 << 20, (1 << 20) + 1):
        (root / f"f{size}").write_bytes(os.urandom(size))
    with (root / "holes").open("wb") as file:
        os.truncate(file.fileno(), 100 << 20)
        os.pwrite(file.fileno(), b"middle", 50 << 20)
    os.link(root / "f4097", root / "d/same")
    (root / "s").symlink_to("d/deep")
    (root / "long").symlink_to("x/" * 2000)
    (root / "dangling").symlink_to("/nowhere")
    os.mkfifo(root / "fifo")
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "big", stat.S_IFBLK | 0o600, os.makedev(259, 70_000))
    os.mknod(root / "d/gone", stat.S_IFCHR, os.makedev(0, 0))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "sock"))
    (root / b"\xff\xfe not utf-8".decode("utf-8", "surrogateescape")).write_text("x")
    os.setxattr(root / "d", "trusted.overlay.opaque", b"y")
    os.setxattr(root / "f1", "user.large", b"v" * 3000)
    os.setxattr(root / "s", "trusted.on-symlink", b"", follow_symlinks=False)
    os.setxattr(
        root / "f2048", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000")
    )
    os.chown(root / "f1", 4_000_000_000, 5)
    (root / "f2047").chmod(0o6755)
    root.chmod(0o1777)
    for number, path in enumerate(sorted(root.rglob("*"))[:50]):
        os.utime(path, ns=(0, 1_234_567_890 * number + 1), follow_symlinks=False)
    os.utime(root, ns=(0, -5_000_000_001))
    return root


def image_of(tree: Path, image: Path) -> Path:
    with image.open("w+b") as target:
        write_directory(str(tree), target.fileno())
    return image


def test_a_directory_comes_out_of_the_kernel_as_it_went_in(tree: Path, tmp_path: Path) -> None:
    image = image_of(tree, tmp_path / "image")
    with mounted(image, tmp_path / "m") as at:
        assert describe_directory(at) == describe_directory(tree) == describe_image(image)
    assert image.stat().st_blocks * 512 < 20 << 20  # the hole of 100 MB is one in the image, too


def test_an_archive_comes_out_as_tar_itself_would_unpack_it(tree: Path, tmp_path: Path) -> None:
    for name in (
        "sock",
        "d/gone",
    ):  # no archive holds a socket; 0/0 would be a whiteout to nobody but overlayfs
        (tree / name).unlink()
    os.removexattr(tree / "d", "trusted.overlay.opaque")
    os.removexattr(tree / "s", "trusted.on-symlink", follow_symlinks=False)
    packed = tmp_path / "packed.tar"
    argv = ["tar", "--format=pax", "--xattrs", "--xattrs-include=*", "-C", str(tree), "-cf", str(packed), "."]
    subprocess.run(argv, check=True)
    image = build(tmp_path, packed.read_bytes())
    with mounted(image, tmp_path / "m") as at:
        assert describe_directory(at) == describe_directory(tree)


@pytest.mark.skipif(not shutil.which("fsck.erofs"), reason="fsck.erofs (erofs-utils) is not installed")
def test_the_checker_of_erofs_utils_finds_nothing(tree: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        ["fsck.erofs", str(image_of(tree, tmp_path / "image"))], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"")


@pytest.mark.skipif(not shutil.which("mkfs.erofs"), reason="mkfs.erofs (erofs-utils) is not installed")
def test_our_reader_reads_what_mkfs_erofs_writes(tree: Path, tmp_path: Path) -> None:
    (tree / "big").unlink()  # mkfs.erofs 1.5 stores devices beyond 8 bits of minor in the old way
    subprocess.run(
        ["mkfs.erofs", "-x", "100", "--preserve-mtime", str(tmp_path / "image"), str(tree)],
        check=True,
        capture_output=True,
    )
    ours, theirs = describe_directory(tree), describe_image(tmp_path / "image")
    assert {p: s.content for p, s in theirs.items()} == {p: s.content for p, s in ours.items()}


@contextmanager
def overlay(lowers: list[Path], at: Path) -> Iterator[Path]:
    at.mkdir()
    options = "lowerdir=" + ":".join(map(str, lowers))
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


def three_layers(tmp_path: Path) -> list[Path]:
    layers = [
        archive(
            *[member(f"{d}", tarfile.DIRTYPE) for d in "abc"],
            *[member(f"{d}/{n}", content=f"0{d}{n}".encode() * 3000) for d in "abc" for n in "xyz"],
        ),
        archive(
            member("a", tarfile.DIRTYPE, mode=0o700),
            member("a/.wh.x"),
            member("a/new", content=b"1"),
            member("b", tarfile.DIRTYPE),
            member("b/.wh..wh..opq"),
            member("b/y", content=b"1"),
        ),
        archive(
            member(".wh.c"),
            member("b", tarfile.DIRTYPE),
            member("b/z", content=b"2"),
            member("a", tarfile.DIRTYPE),
            member("a/x", content=b"back"),
        ),
    ]
    images = []
    for number, layer in enumerate(layers):
        (tmp_path / str(number)).mkdir()
        images.append(build(tmp_path / str(number), layer))
    return images


def test_the_kernel_stacks_our_layers_and_shows_what_we_merge(tmp_path: Path) -> None:
    images = three_layers(tmp_path)
    joined = tmp_path / "joined"
    with ExitStack() as stack:
        with joined.open("w+b") as target:
            write_merged([stack.enter_context(ImageReader(image)) for image in images], target.fileno())
            target.seek(0, 2)
            for image in images:
                target.write(image.read_bytes())
        apart = [stack.enter_context(mounted(image, tmp_path / f"m{n}")) for n, image in enumerate(images)]
        stacked = describe_directory(stack.enter_context(overlay(apart[::-1], tmp_path / "overlay")))
        merged = describe_directory(stack.enter_context(mounted(joined, tmp_path / "m")))
    assert set(stacked) == {b"", b"/a", b"/a/new", b"/a/x", b"/a/y", b"/a/z", b"/b", b"/b/y", b"/b/z"}
    assert merged == {path: seen._replace(xattrs={}) for path, seen in stacked.items()}
    assert merged[b"/a/x"].content == b"back"


def test_layers_that_only_overlayfs_can_follow_stay_apart(tmp_path: Path) -> None:
    for name in ("low", "up"):
        (tmp_path / name / "d").mkdir(parents=True)
    os.setxattr(tmp_path / "up/d", "trusted.overlay.redirect", b"/e")
    cache = LayerCache(tmp_path / "cache")
    found = of_directories(cache, "pod", [(tmp_path / name, Identity.TREE) for name in ("low", "up")])
    assert [len(files) for files in found.disks] == [1, 1]
    with ImageReader(found.disks[0][0]) as upper:
        assert (
            b"trusted.overlay.redirect"
            in next(s for p, s in describe_image(found.disks[0][0]).items() if p == b"/d").xattrs
        )
        with pytest.raises(LayerRefused, match="redirected"), (tmp_path / "x").open("w+b") as target:
            write_merged([upper], target.fileno())


def test_a_hundred_layers_are_one_disk(tmp_path: Path) -> None:
    if not shutil.which("qemu-img"):
        pytest.skip("qemu-img (qemu-utils) is not installed")
    directories = []
    for number in range(100):
        (tmp_path / f"l{number}" / "d").mkdir(parents=True)
        (tmp_path / f"l{number}" / "d" / str(number)).write_text(f"layer {number}" * 500)
        (tmp_path / f"l{number}" / "same").write_text(str(number))
        directories.append((tmp_path / f"l{number}", Identity.SNAPSHOT))
    found = of_directories(LayerCache(tmp_path / "cache"), "pod", directories)
    (files,) = found.disks
    assert (len(files), found.built) == (101, 100)
    described, raw = tmp_path / "joined.vmdk", tmp_path / "raw"
    described.write_text(descriptor([(str(path), path.stat().st_size) for path in files]))
    subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", str(described), str(raw)], check=True)
    with mounted(raw, tmp_path / "m") as at:
        assert {path.name: path.read_text() for path in (at / "d").iterdir()} == {
            str(number): f"layer {number}" * 500 for number in range(100)
        }
        assert (at / "same").read_text() == "99"


def test_a_changed_directory_is_another_layer(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_text("1")
    cache = LayerCache(tmp_path / "cache")
    first, again = (of_directories(cache, "pod", [(tmp_path / "d", Identity.TREE)]) for _ in range(2))
    (tmp_path / "d/f").write_text("2")
    changed = of_directories(cache, "pod", [(tmp_path / "d", Identity.TREE)])
    assert (first.built, again.built, changed.built) == (1, 0, 1)
    assert first.disks == again.disks != changed.disks


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An image of two layers, made by umoci as a user would."""
    for tool in ("umoci", "skopeo"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    image, bundle = f"{tmp_path}/img:a", tmp_path / "bundle"
    run = [
        ["umoci", "init", "--layout", f"{tmp_path}/img"], ["umoci", "new", "--image", image],
        ["umoci", "unpack", "--image", image, str(bundle)],
    ]  # fmt: skip
    for argv in run:
        subprocess.run(argv, check=True, capture_output=True)
    for step in range(2):
        rootfs = bundle / "rootfs"
        (rootfs / f"dir{step}").mkdir()
        (rootfs / f"dir{step}/file").write_text(f"{step}" * 10_000)
        (rootfs / "both").write_text(str(step))
        if step:
            shutil.rmtree(rootfs / "dir0")
        subprocess.run(
            ["umoci", "repack", "--refresh-bundle", "--image", image, str(bundle)],
            check=True,
            capture_output=True,
        )
    argv = [
        "umoci", "config", "--image", image, "--config.entrypoint", "/bin/x", "--config.cmd", "y",
        "--config.env", "A=b=c", "--config.user", "5:6", "--config.workingdir", "/w",
    ]  # fmt: skip
    subprocess.run(argv, check=True, capture_output=True)
    return tmp_path / "img"


@pytest.mark.parametrize("form", ["oci", "oci-archive", "docker-archive"])
def test_an_image_in_every_form_is_the_same_root(layout: Path, tmp_path: Path, form: str) -> None:
    source = layout
    if form != "oci":
        source = tmp_path / "archive.tar"
        name = ":x/y:z" if form == "docker-archive" else ""
        subprocess.run(["skopeo", "copy", "-q", f"oci:{layout}:a", f"{form}:{source}{name}"], check=True)
    image = open_image(source)
    config = ImageConfig(("/bin/x",), ("y",), ("A=b=c",), "/w", "5:6", diff_ids=image.config.diff_ids)
    assert image.config == config
    assert config.argv() == ("/bin/x", "y")
    assert config.argv(("z",)) == ("/bin/x", "z")
    found = of_image(LayerCache(tmp_path / "cache"), "pod", image)
    joined = tmp_path / "joined"
    joined.write_bytes(b"".join(path.read_bytes() for path in found.disks[0]))
    with mounted(joined, tmp_path / "m") as at:
        assert sorted(path.name for path in at.iterdir()) == ["both", "dir1"]
        assert (at / "dir1/file").read_text() == "1" * 10_000
