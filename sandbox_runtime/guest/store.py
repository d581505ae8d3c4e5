"""Built guests on disk: found by their inputs, named by their content, checked before use, made under a lock.

The last few that were used stay: machines that run have their files open, and templates hold their own memory.

<guest>/<digest>/           vmlinux, initrd, image.erofs, manifest.json: written whole, then renamed into place
<guest>/by-inputs/<name>    symbolic link to the above
<guest>/lock                held while building
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sandbox_runtime.model import GuestImage

KERNEL, INITRD, IMAGE, MANIFEST = "vmlinux", "initrd", "image.erofs", "manifest.json"
KEPT = 3  # guests: every new kernel, agent or crun makes another of some 70 MB
_CHUNK = 1 << 20


class GuestStore:
    """The directory of built guests."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store's lock; whoever waits finds the work done."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def find(self, inputs: str) -> GuestImage | None:
        """The guest made from these inputs; None if there is none, or if its files are not what was written."""
        folder = self.root / "by-inputs" / inputs
        try:
            manifest = json.loads((folder / MANIFEST).read_text())
            folder = folder.resolve(strict=True)
            intact = all(_intact(folder / name, facts) for name, facts in manifest["files"].items())
            return self._used(_image(folder, manifest)) if intact else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, inputs: str, built: Path, cmdline: str) -> GuestImage:
        """Take over a directory with the built files; called under the lock. Durable when it returns."""
        files = {path.name: _sha256(path) for path in sorted(built.iterdir())}
        digest = hashlib.sha256(json.dumps([files, cmdline], sort_keys=True).encode()).hexdigest()
        target = self.root / digest
        _discard(target)
        for path in built.iterdir():
            path.chmod(0o444)
            _sync(path)
        built.rename(target)
        facts = {name: _facts(target / name, sha) for name, sha in files.items()}
        manifest = {"digest": digest, "cmdline": cmdline, "files": facts}
        (target / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
        _sync(target / MANIFEST)
        _sync(target)
        self._link(inputs, digest)
        self._forget()
        return _image(target, manifest)

    def _used(self, image: GuestImage) -> GuestImage:
        with suppress(OSError):  # a cache that this user may only read
            os.utime(self.root / image.digest)
        return image

    def _forget(self) -> None:
        """Remove all but the guests that were used last, and the links to those that are gone."""
        guests = [path.parent for path in self.root.glob(f"*/{MANIFEST}")]
        for old in sorted(guests, key=lambda path: path.stat().st_mtime_ns)[:-KEPT]:
            _discard(old)
        for link in (self.root / "by-inputs").iterdir():
            if not link.exists():
                link.unlink()

    def _link(self, inputs: str, digest: str) -> None:
        links = self.root / "by-inputs"
        links.mkdir(exist_ok=True)
        fresh = links / f".{inputs}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(f"../{digest}")
        fresh.rename(links / inputs)
        _sync(links)
        _sync(self.root)


def _image(folder: Path, manifest: dict[str, Any]) -> GuestImage:
    initrd = folder / INITRD
    has_initrd = INITRD in manifest["files"]
    return GuestImage(
        folder / KERNEL,
        initrd if has_initrd else None,
        folder / IMAGE,
        manifest["cmdline"],
        manifest["digest"],
    )


def _intact(path: Path, facts: dict[str, Any]) -> bool:
    """Unchanged by its inode, size and time; where those differ (a copied cache), by its content."""
    status = path.stat()
    if [status.st_ino, status.st_size, status.st_mtime_ns] == facts["stat"]:
        return True
    return bool(status.st_size == facts["stat"][1] and _sha256(path) == facts["sha256"])


def _facts(path: Path, sha256: str) -> dict[str, Any]:
    status = path.stat()
    return {"sha256": sha256, "stat": [status.st_ino, status.st_size, status.st_mtime_ns]}


def _sha256(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
