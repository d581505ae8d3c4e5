"""Removes layers that nobody uses, least recently used first, and what dead builders left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.rootfs.cache import LayerCache
from sandbox_runtime.rootfs.durable import locked, sync_directory


class Candidate(NamedTuple):
    """One image as the choice sees it. `used` bytes are those that the disk holds, not the file's length."""

    key: str
    used: int
    last_use_ns: int
    referenced: bool


class Collected(NamedTuple):
    """What a collection did. Bytes on disk."""

    removed: tuple[str, ...]
    freed: int
    kept: int


def victims(candidates: Collection[Candidate], budget: int) -> list[Candidate]:
    """Which images go so that the rest fits into `budget` bytes; referenced ones always stay. Pure."""
    excess = sum(candidate.used for candidate in candidates) - budget
    chosen = []
    for candidate in sorted(candidates, key=lambda c: (c.last_use_ns, c.key)):
        if excess > 0 and not candidate.referenced:
            chosen.append(candidate)
            excess -= candidate.used
    return chosen


def collect(cache: LayerCache, budget: int, live: Collection[str] | None = None) -> Collected:
    """Bring the cache down to `budget` bytes.

    Args:
        budget: bytes on disk; 0 removes everything that nobody uses.
        live: every sandbox that exists; references of others are of the past and go. None keeps all references.
    """
    doomed: list[Path] = []
    with locked(cache.directory / "locks" / ".collect"):
        candidates = _candidates(cache, live)
        chosen = victims(candidates, budget)
        for victim in chosen:
            aside = cache.directory / "building" / f"{victim.key}.{os.urandom(8).hex()}"
            cache.image(victim.key).parent.rename(aside)
            doomed.append(aside)
        sync_directory(cache.directory / "images")
    for path in doomed:  # the slow part, with no lock held: nobody can find them any more
        shutil.rmtree(path, ignore_errors=True)
    _sweep(cache)
    freed = sum(victim.used for victim in chosen)
    kept = sum(candidate.used for candidate in candidates) - freed
    return Collected(tuple(victim.key for victim in chosen), freed, kept)


def _candidates(cache: LayerCache, live: Collection[str] | None) -> list[Candidate]:
    found = []
    for directory in sorted((cache.directory / "images").iterdir()):
        used = sum(path.stat().st_blocks * 512 for path in directory.iterdir())
        references = _references(cache.directory / "references" / directory.name, live)
        found.append(Candidate(directory.name, used, directory.stat().st_mtime_ns, references > 0))
    return found


def _references(directory: Path, live: Collection[str] | None) -> int:
    if not directory.is_dir():
        return 0
    count = 0
    for holder in directory.iterdir():
        if live is not None and holder.name not in live:
            holder.unlink(missing_ok=True)
        else:
            count += 1
    if not count:
        directory.rmdir()
    return count


def _sweep(cache: LayerCache) -> None:
    """What is in `building` and whose key nobody holds was left by somebody who is dead."""
    for left in sorted((cache.directory / "building").iterdir()):
        key = left.name.rpartition(".")[0]
        with locked(cache.directory / "locks" / key, wait=False) as mine:
            if mine:
                shutil.rmtree(left, ignore_errors=True)
                (cache.directory / "locks" / key).unlink(missing_ok=True)
