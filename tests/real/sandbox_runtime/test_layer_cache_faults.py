"""The cache when builders die, disks fill up, and everybody wants everything at once."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from sandbox_runtime.rootfs.cache import LayerCache
from sandbox_runtime.rootfs.collect import collect
from sandbox_runtime.rootfs.errors import DiskFull, LayerRefused
from sandbox_runtime.rootfs.layer.archive import write_archive
from sandbox_runtime.rootfs.upper import create
from tests.support.layers import archive, describe_image, member

pytestmark = pytest.mark.real
KILLS = int(os.environ.get("BULKHEAD_BUILDER_KILLS", "25"))
BUILDER = """
import sys
from functools import partial
from pathlib import Path
from sandbox_runtime.rootfs.cache import LayerCache
from sandbox_runtime.rootfs.layer.archive import write_archive
def build(fd):
    with open(sys.argv[2], "rb") as layer:
        write_archive(layer, fd)
print("go", flush=True)
LayerCache(Path(sys.argv[1])).acquire("layer", sys.argv[3], build)
print("done", flush=True)
"""


def builder(cache: Path, layer: Path, holder: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", BUILDER, str(cache), str(layer), holder]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    path = tmp_path / "layer.tar"
    members = [member(f"d{n % 50}/f{n}", content=os.urandom(64) * (n % 300)) for n in range(1000)]
    path.write_bytes(archive(*members))
    return path


def test_a_builder_killed_at_any_moment_leaves_nothing_that_is_used(layer: Path, tmp_path: Path) -> None:
    """Each is killed somewhere between its first and its last instruction; the next one starts from what it left."""
    seed = time.monotonic_ns()
    pick = random.Random(seed)  # noqa: S311 - a moment, not a secret
    whole = tmp_path / "whole.erofs"
    with layer.open("rb") as source, whole.open("w+b") as target:
        write_archive(source, target.fileno())
    started = time.monotonic()
    with builder(tmp_path / "timed", layer, "x") as process:
        assert process.stdout is not None
        process.stdout.readline()
        begun = time.monotonic()
        assert process.wait() == 0
    lasts = time.monotonic() - begun
    killed = published = 0
    for number in range(KILLS):
        cache = tmp_path / f"cache{number % 3}"
        with builder(cache, layer, f"victim{number}") as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(pick.uniform(0, lasts * 1.1))
            process.kill()
            killed += process.wait() == -signal.SIGKILL
        found = LayerCache(cache).find("layer")
        if found is not None:
            published += 1
            assert found.path.read_bytes() == whole.read_bytes(), seed
            collect(LayerCache(cache), 0, live=())
    assert killed >= KILLS // 2, (
        f"too few were still running (seed {seed}, one takes {lasts:.2f} s of {started})"
    )
    for number in range(3):
        cache = tmp_path / f"cache{number}"
        with builder(cache, layer, "survivor") as process:
            assert process.wait() == 0
        assert LayerCache(cache).image("layer").read_bytes() == whole.read_bytes()
        assert list((cache / "building").iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.getuid() != 0:
        pytest.skip("mounting needs root")
    at = tmp_path / "small"
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


def test_a_full_disk_is_an_error_with_numbers_and_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.tar"
    large.write_bytes(archive(member("f", content=os.urandom(8 << 20))))
    small = archive(member("f", content=b"x"))

    def build(fd: int) -> None:
        with large.open("rb") as source:
            write_archive(source, fd)

    cache = LayerCache(small_disk / "cache")
    free = os.statvfs(small_disk).f_bavail
    with pytest.raises(DiskFull) as full:
        cache.acquire("large", "pod", build)
    assert full.value.free < 1 << 20
    assert (
        list((cache.directory / "building").iterdir()) == list((cache.directory / "images").iterdir()) == []
    )
    assert free - os.statvfs(small_disk).f_bavail <= 4  # the lock file and its directory entry
    tar = tmp_path / "small.tar"
    tar.write_bytes(small)

    def build_small(fd: int) -> None:
        with tar.open("rb") as source:
            write_archive(source, fd)

    assert cache.acquire("small", "pod", build_small).built


def test_a_disk_for_a_container_that_finds_no_room_leaves_no_file(small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes((4 << 20) - 8192))
    with pytest.raises(DiskFull):
        create(small_disk / "upper", 1 << 30, tmp_path / "templates")
    assert not (small_disk / "upper").exists()


def _fill(content: bytes, fd: int) -> int:
    return os.write(fd, content)


def _churn(directory: Path, seed: int, seconds: float) -> None:
    """Take layers, look into every one that was promised, let go, collect; all at once with others."""
    pick = random.Random(seed)  # noqa: S311
    cache = LayerCache(directory)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        holder = f"pod-{seed}-{pick.randrange(3)}"
        key = f"k{pick.randrange(6)}"
        content = key.encode() * 5000
        if pick.random() < 0.4:
            collect(cache, pick.choice([0, 30_000]))
            continue
        layer = cache.acquire(key, holder, partial(_fill, content))
        for _ in range(3):
            assert layer.path.read_bytes() == content
            time.sleep(0)
        cache.release(holder)


def test_a_layer_that_was_promised_is_there_while_others_collect(tmp_path: Path) -> None:
    """Every process holds one at most per name, so whatever it was given must stay readable until it lets go."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_churn, args=(tmp_path, seed, 4.0)) for seed in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 6
    collect(LayerCache(tmp_path), 0, live=())
    assert [list((tmp_path / name).iterdir()) for name in ("images", "building", "references")] == [
        [],
        [],
        [],
    ]


def test_a_refused_layer_can_be_asked_for_again(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path)
    answers = iter([True, False])

    def build(fd: int) -> None:
        if next(answers):
            raise LayerRefused("malformed", "the first time")
        os.write(fd, b"x")

    with pytest.raises(LayerRefused):
        cache.acquire("a", "pod", build)
    assert cache.acquire("a", "pod", build).built


def test_the_image_of_a_built_layer_can_be_read_back(layer: Path, tmp_path: Path) -> None:
    cache = LayerCache(tmp_path / "cache")

    def build(fd: int) -> None:
        with layer.open("rb") as source:
            write_archive(source, fd)

    found = cache.acquire("a", "pod", build)
    cache.verify("a")
    assert len(describe_image(found.path)) == 1000 + 50 + 1
