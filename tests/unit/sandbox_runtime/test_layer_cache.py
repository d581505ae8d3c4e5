"""One image per layer, whoever asks, and none that differs from what was written down."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from sandbox_runtime.rootfs.cache import LayerCache
from sandbox_runtime.rootfs.collect import Candidate, collect, victims
from sandbox_runtime.rootfs.errors import LayerCorrupt, LayerRefused


def fill(fd: int) -> None:
    os.write(fd, b"x" * 10_000)


def test_the_second_asker_gets_the_image_of_the_first(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path)
    first, second = cache.acquire("a", "one", fill), cache.acquire("a", "two", fill)
    assert (first.built, second.built, first.path) == (True, False, second.path)
    assert second.path.read_bytes() == b"x" * 10_000


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def refuse(fd: int) -> None:
        fill(fd)
        raise LayerRefused("malformed", "for the test")

    cache = LayerCache(tmp_path)
    with pytest.raises(LayerRefused):
        cache.acquire("a", "one", refuse)
    assert cache.find("a") is None
    assert list((tmp_path / "building").iterdir()) == list((tmp_path / "images").iterdir()) == []


@pytest.mark.parametrize("damage", ["write", "truncate", "exchange", "record", "no record"])
def test_an_image_that_was_touched_is_made_anew(tmp_path: Path, damage: str) -> None:
    cache = LayerCache(tmp_path)
    path = cache.acquire("a", "one", fill).path
    record = path.parent / "record.json"
    match damage:
        case "write":
            path.chmod(0o600)
            path.write_bytes(b"y" * 10_000)
        case "truncate":
            os.truncate(path, 5)
        case "exchange":
            path.unlink()
            path.write_bytes(b"x" * 10_000)
        case "record":
            record.write_text("{")
        case _:
            record.unlink()
    assert cache.find("a") is None
    again = cache.acquire("a", "one", fill)
    assert again.built
    assert again.path.read_bytes() == b"x" * 10_000
    assert list((tmp_path / "building").iterdir()) == []


def test_verification_reads_the_content_and_takes_the_image_out_of_use(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path)
    path = cache.acquire("a", "one", fill).path
    cache.verify("a")
    found = path.stat()
    path.chmod(0o600)
    path.write_bytes(b"y" * 10_000)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    with pytest.raises(LayerCorrupt):
        cache.verify("a")
    assert cache.find("a") is None


def test_what_somebody_uses_stays_and_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path)
    for age, key in enumerate(("c", "b", "a")):
        path = cache.acquire(key, f"pod-{key}", fill).path
        os.utime(path.parent, ns=(age, age))
    cache.release("pod-b")
    cache.release("pod-a")
    assert collect(cache, budget=2 * 12_288 + 3 * 4096).removed == ("b",)
    assert collect(cache, budget=0).removed == ("a",)
    assert cache.find("c") is not None


def test_references_of_sandboxes_that_are_gone_do_not_count(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path)
    cache.acquire("a", "gone", fill)
    cache.acquire("b", "here", fill)
    assert collect(cache, 0, live={"here"}).removed == ("a",)


def test_the_choice_frees_no_more_than_needed() -> None:
    candidates = [
        Candidate("old", 10, 1, False),
        Candidate("used", 10, 0, True),
        Candidate("new", 10, 2, False),
    ]
    assert [v.key for v in victims(candidates, 20)] == ["old"]
    assert [v.key for v in victims(candidates, 0)] == ["old", "new"]
    assert victims(candidates, 30) == []


def test_what_a_dead_builder_left_goes_with_the_next_collection(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path)
    left = tmp_path / "building" / "a.0123456789abcdef"
    left.mkdir()
    (left / "image.erofs").write_bytes(b"half")
    collect(cache, 1 << 40)
    assert list((tmp_path / "building").iterdir()) == []


def _acquire(directory: Path, log: Path, holder: str) -> None:
    def build(fd: int) -> None:
        with log.open("a") as line:
            line.write(holder + "\n")
        fill(fd)

    LayerCache(directory).acquire("a", holder, build)


def test_of_many_processes_one_builds(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    cache, log = tmp_path / "cache", tmp_path / "log"
    processes = [context.Process(target=_acquire, args=(cache, log, f"p{n}")) for n in range(12)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 12
    assert len(log.read_text().splitlines()) == 1
    assert len(list((cache / "references" / "a").iterdir())) == 12
