"""Built guests on disk: found again, named by content, never trusted when changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sandbox_runtime.guest.store import IMAGE, INITRD, KEPT, KERNEL, GuestStore
from sandbox_runtime.model import GuestImage


def keep(store: GuestStore, name: str = "inputs", content: bytes = b"image") -> GuestImage:
    built = store.root / "built"
    with store.locked():
        built.mkdir(parents=True)
        for file, data in ((KERNEL, b"kernel"), (INITRD, b"initrd"), (IMAGE, content)):
            (built / file).write_bytes(data)
        return store.keep(name, built, "quiet")


def test_what_was_kept_is_found(tmp_path: Path) -> None:
    store = GuestStore(tmp_path)
    kept = keep(store)
    assert store.find("inputs") == kept
    assert store.find("others") is None


def test_the_same_content_has_the_same_name(tmp_path: Path) -> None:
    assert keep(GuestStore(tmp_path / "a")).digest == keep(GuestStore(tmp_path / "b"), "other inputs").digest
    assert keep(GuestStore(tmp_path / "c"), content=b"else").digest != keep(GuestStore(tmp_path / "d")).digest


def test_a_changed_file_is_not_used(tmp_path: Path) -> None:
    store = GuestStore(tmp_path)
    kept = keep(store)
    assert kept.image is not None
    kept.image.chmod(0o644)
    kept.image.write_bytes(b"IMAGE")
    assert store.find("inputs") is None


def test_a_file_that_was_only_touched_or_copied_is(tmp_path: Path) -> None:
    store = GuestStore(tmp_path / "a")
    kept = keep(store)
    os.utime(kept.kernel, (1, 1))
    assert store.find("inputs") == kept
    shutil.copytree(tmp_path / "a", tmp_path / "b", symlinks=True)
    assert GuestStore(tmp_path / "b").find("inputs") is not None


def test_a_half_written_entry_is_not_used(tmp_path: Path) -> None:
    store = GuestStore(tmp_path)
    kept = keep(store)
    (kept.kernel.parent / "manifest.json").chmod(0o644)
    for text in ("", "{", "[]", '{"files": {}}'):
        (kept.kernel.parent / "manifest.json").write_text(text)
        assert store.find("inputs") is None
    assert keep(store) == kept


def test_it_is_made_again_after_a_loss(tmp_path: Path) -> None:
    store = GuestStore(tmp_path)
    kept = keep(store)
    kept.kernel.unlink()
    assert store.find("inputs") is None
    assert keep(store) == kept


def test_only_the_guests_that_were_used_last_stay(tmp_path: Path) -> None:
    store = GuestStore(tmp_path)
    for number in range(KEPT):
        os.utime(keep(store, f"inputs {number}", bytes([number])).kernel.parent, (number, number))
    assert store.find("inputs 0") is not None
    keep(store, "newest", b"new")
    there = [name for name in (*(f"inputs {number}" for number in range(KEPT)), "newest") if store.find(name)]
    assert there == ["inputs 0", *(f"inputs {number}" for number in range(2, KEPT)), "newest"]
    assert len(list((tmp_path / "by-inputs").iterdir())) == KEPT
