"""An image holds what the archive states, and layers merge as overlayfs would show them."""

from __future__ import annotations

import io
import tarfile
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox_runtime.rootfs.erofs.merge import write_merged
from sandbox_runtime.rootfs.erofs.read import ImageReader
from sandbox_runtime.rootfs.errors import LayerRefused
from sandbox_runtime.rootfs.layer.archive import write_archive
from tests.support.layers import Seen, archive, build, describe_image, member

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAME = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..") and not name.startswith(".wh.") and len(name.encode()) < 100
)
SIZE = st.one_of(st.integers(0, 300), st.sampled_from([4095, 4096, 4097, 8192, 12_289, 1 << 20]))
KIND = st.sampled_from(["file", "file", "file", "directory", "symlink", "fifo", "device"])


@st.composite
def a_member(draw: st.DrawFn, name: str) -> tuple[tarfile.TarInfo, bytes]:
    kind = draw(KIND)
    fields: dict[str, Any] = {
        "mode": draw(st.integers(0, 0o7777)),
        "uid": draw(st.sampled_from([0, 1, 65_535, 4_000_000_000])),
        "gid": draw(st.integers(0, 70_000)),
        "mtime": draw(st.integers(0, 1 << 33)),
        "pax_headers": {
            f"SCHILY.xattr.user.{key}": value
            for key, value in draw(
                st.dictionaries(
                    st.text("abc", min_size=1, max_size=40), st.text("xyz\n= ", max_size=300), max_size=3
                )
            ).items()
        },
    }
    match kind:
        case "file":
            return member(name, content=draw(st.binary(max_size=3)) * draw(SIZE), **fields)
        case "directory":
            return member(name, tarfile.DIRTYPE, **fields)
        case "symlink":
            target = draw(NAME) * draw(st.sampled_from([1, 1, 60]))
            return member(name, tarfile.SYMTYPE, linkname=target, **fields)
        case "fifo":
            return member(name, tarfile.FIFOTYPE, **fields)
        case _:
            major, minor = draw(st.integers(1, 4095)), draw(st.integers(0, (1 << 20) - 1))
            return member(name, tarfile.CHRTYPE, devmajor=major, devminor=minor, **fields)


@st.composite
def a_layer(draw: st.DrawFn, names: st.SearchStrategy[str] = NAME) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Members in an order that is valid: directories before what is in them."""
    top = draw(st.lists(names, unique=True, max_size=6))
    made = [member(".", tarfile.DIRTYPE), *[draw(a_member(name)) for name in top]]
    for info, _ in list(made[1:]):
        if info.isdir():
            made += [
                draw(a_member(f"{info.name}/{name}"))
                for name in draw(st.lists(names, unique=True, max_size=4))
            ]
    return made


def stated(info: tarfile.TarInfo, content: bytes) -> tuple[object, ...]:
    xattrs = {key[13:].encode(): str(value).encode() for key, value in info.pax_headers.items()}
    device = (info.devmajor, info.devminor) if info.ischr() else (0, 0)
    return info.mode, info.uid, info.gid, int(info.mtime) * 10**9, device, xattrs


def seen(found: Seen) -> tuple[object, ...]:
    return found.mode & 0o7777, found.uid, found.gid, found.mtime_ns, found.device, found.xattrs


@SLOW
@given(layer=a_layer())
def test_the_image_holds_what_the_archive_states(layer: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        image = build(Path(directory), archive(*layer))
        found = describe_image(image)
        assert set(found) == {b"", *(b"/" + info.name.encode() for info, _ in layer[1:])}
        for info, content in layer[1:]:
            path = b"/" + info.name.encode()
            assert seen(found[path]) == stated(info, content)
            with ImageReader(image) as reader:
                inode = reader.lookup(path)
                assert inode is not None
                if info.isreg() or info.issym():
                    assert reader.content(inode) == (content if info.isreg() else info.linkname.encode())


FEW = st.sampled_from(["a", "b", "c", "d"])


@st.composite
def an_upper(draw: st.DrawFn) -> list[tuple[tarfile.TarInfo, bytes]]:
    """A layer over names that collide, with whiteouts and opaque directories among them."""
    layer = draw(a_layer(FEW))
    taken = {info.name for info, _ in layer}
    directories = [".", *(info.name for info, _ in layer if info.isdir() and info.name != ".")]
    for where in draw(st.lists(st.sampled_from(directories), max_size=3)):
        name = draw(st.sampled_from(["a", "b", "c", "d"]))
        if f"{where}/{name}".removeprefix("./") not in taken:
            layer.append(member(f"{where}/.wh.{name}"))
    layer += [member(f"{where}/.wh..wh..opq") for where in directories if draw(st.integers(0, 4)) == 0]
    return layer


def over(below: dict[bytes, Seen], above: dict[bytes, Seen]) -> dict[bytes, Seen]:
    """The meaning of two layers, said in another way than the code says it."""
    result = dict(below)
    for path in sorted(above):
        found = above[path]
        was_directory = path in below and below[path].mode >> 12 == 4
        if found.mode >> 12 != 4 or not was_directory or b"trusted.overlay.opaque" in found.xattrs:
            result = {name: seen for name, seen in result.items() if not name.startswith(path + b"/")}
        result[path] = found
    merged = {
        path: seen for path, seen in result.items() if not (seen.mode >> 12 == 2 and seen.device == (0, 0))
    }
    return {
        path: seen._replace(
            links=0,
            xattrs={
                key: value for key, value in seen.xattrs.items() if not key.startswith(b"trusted.overlay")
            },
        )
        for path, seen in merged.items()
    }


@SLOW
@given(layers=st.lists(an_upper(), min_size=2, max_size=4))
def test_merged_layers_are_what_an_overlay_of_them_shows(
    layers: list[list[tuple[tarfile.TarInfo, bytes]]],
) -> None:
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        images = []
        for number, layer in enumerate(layers):
            (Path(directory) / str(number)).mkdir()
            images.append(build(Path(directory) / str(number), archive(*layer)))
        joined = Path(directory) / "joined"
        with joined.open("w+b") as target:
            write_merged([stack.enter_context(ImageReader(image)) for image in images], target.fileno())
            target.seek(0, 2)
            for image in images:
                target.write(image.read_bytes())
        expected: dict[bytes, Seen] = {}
        for image in images:
            expected = over(expected, describe_image(image))
        found = {path: seen._replace(links=0) for path, seen in describe_image(joined).items()}
        assert found == expected


@SLOW
@given(junk=st.binary(max_size=3000))
def test_a_reader_of_junk_refuses_or_finds_nothing_wrong(junk: bytes) -> None:
    with tempfile.TemporaryFile() as target, suppress(LayerRefused):
        write_archive(io.BytesIO(junk), target.fileno())
