"""ConfigMaps and Secrets as kubelet lays them out: one version at a time, every change noticed."""

from __future__ import annotations

import io
import os
import select
import tarfile
import threading
from pathlib import Path

import pytest

from sandbox_runtime.errors import StorageFailed
from sandbox_runtime.volumes import beneath, copies
from sandbox_runtime.volumes.beneath import open_beneath
from sandbox_runtime.volumes.copies import read
from sandbox_runtime.volumes.watch import Watch


def write_version(volume: Path, version: str, files: dict[str, str]) -> None:
    """As kubelet's AtomicWriter does it."""
    where = volume / f"..{version}"
    for name, content in files.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_text(content)
    (volume / "..data_tmp").symlink_to(where.name)
    old = (volume / "..data").resolve() if (volume / "..data").exists() else None
    (volume / "..data_tmp").rename(volume / "..data")
    for name in {name.partition("/")[0] for name in files}:
        if not (volume / name).is_symlink():
            (volume / name).symlink_to(f"..data/{name}")
    if old is not None:
        for path in sorted(old.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        old.rmdir()


def contents(volume: Path) -> dict[str, str]:
    return {
        file.path.decode(): file.content.decode() for file in read(volume).files if file.content is not None
    }


def test_a_config_map_is_its_files_and_none_of_its_links(tmp_path: Path) -> None:
    write_version(tmp_path, "1", {"a": "1", "nested/deep/b": "2"})
    assert contents(tmp_path) == {"a": "1", "nested/deep/b": "2"}


def test_a_thousand_files_are_copied(tmp_path: Path) -> None:
    files = {f"key{number}": str(number) * 100 for number in range(1000)}
    write_version(tmp_path, "1", files)
    assert contents(tmp_path) == files


def test_a_reader_never_sees_two_versions_mixed(tmp_path: Path) -> None:
    names = [f"k{number}" for number in range(40)]
    write_version(tmp_path, "0", dict.fromkeys(names, "0"))
    stop = threading.Event()

    def churn() -> None:
        version = 0
        while not stop.wait(0.005):
            version += 1
            write_version(tmp_path, str(version), dict.fromkeys(names, str(version)))

    writer = threading.Thread(target=churn)
    writer.start()
    try:
        seen = [frozenset(contents(tmp_path).values()) for _ in range(50)]
    finally:
        stop.set()
        writer.join()
    assert all(len(values) == 1 for values in seen)
    assert len(set(seen)) > 1


def test_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "secret").write_text("x")
    for target in ("../secret", str(tmp_path / "secret"), "/etc/passwd"):
        link = tmp_path / "volume" / "a"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        with pytest.raises(StorageFailed, match="leads out"):
            read(tmp_path / "volume")


def test_data_that_leads_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/..data").symlink_to("..")
    with pytest.raises(StorageFailed, match="leads out"):
        read(tmp_path / "volume")


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "TOTAL_MAX", 1000)
    (tmp_path / "a").write_bytes(bytes(600))
    read(tmp_path)
    (tmp_path / "b").write_bytes(bytes(600))
    with pytest.raises(StorageFailed):
        read(tmp_path)


def test_the_archive_is_one_that_others_read(tmp_path: Path) -> None:
    (tmp_path / "d" / ("n" * 200)).mkdir(parents=True)
    (tmp_path / "d" / ("n" * 200) / "f").write_text("deep")
    (tmp_path / "exact").write_bytes(bytes(512))
    (tmp_path / "empty").touch(mode=0o640)
    (tmp_path / "empty").chmod(0o640)
    with tarfile.open(fileobj=io.BytesIO(b"".join(read(tmp_path).archive()))) as tar:
        found = {info.name: (info.isdir(), info.mode, info.size) for info in tar}
    assert found["empty"] == (False, 0o640, 0)
    assert found["exact"][2] == 512
    assert found["d/" + "n" * 200 + "/f"][2] == 4
    assert found["d"][0]


def test_a_change_is_news_once(tmp_path: Path) -> None:
    write_version(tmp_path, "1", {"a": "1"})
    watch = Watch(tmp_path)
    try:
        first = watch.news()
        assert first is not None
        assert watch.news() is None
        write_version(tmp_path, "2", {"a": "2", "b": "2"})
        assert select.select([watch], [], [], 5)[0]
        second = watch.news()
        assert second is not None
        assert {file.path for file in second.files} == {b"a", b"b"}
        write_version(tmp_path, "3", {"a": "2", "b": "2"})  # rewritten, with the same content
        assert watch.news() is None
    finally:
        watch.close()


def test_a_change_deep_in_an_ordinary_directory_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    watch = Watch(tmp_path)
    try:
        watch.news()
        (tmp_path / "a/b/new").mkdir()
        assert select.select([watch], [], [], 5)[0]
        assert watch.news() is not None
        (tmp_path / "a/b/new/file").write_text("x")
        assert select.select([watch], [], [], 5)[0]
        assert watch.news() is not None
    finally:
        watch.close()


@pytest.mark.parametrize("kernel", ["openat2", "walk"])
def test_nothing_outside_can_be_opened(tmp_path: Path, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kernel == "walk":  # as on a kernel that has no openat2
        monkeypatch.setattr(beneath, "_OPENAT2", 100_000)
    (tmp_path / "v/d").mkdir(parents=True)
    (tmp_path / "v/d/f").write_text("in")
    (tmp_path / "v/out").symlink_to("/etc")
    (tmp_path / "v/up").symlink_to("..")
    root = os.open(tmp_path / "v", os.O_RDONLY)
    try:
        with os.fdopen(open_beneath(root, "d/f")) as file:
            assert file.read() == "in"
        for path in ("../x", "/etc/passwd", "out/passwd", "up/x", "d/../../x", "out"):
            with pytest.raises((StorageFailed, NotADirectoryError)):
                os.close(open_beneath(root, path))
    finally:
        os.close(root)
