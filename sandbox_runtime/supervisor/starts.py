"""The node's histograms of start phases: one small file that every start is added to, gone with the next boot."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from typing import Any

from sandbox_runtime import metrics
from sandbox_runtime.paths import Paths

NAME = "starts.json"


def add(paths: Paths, accel: str, start: str, timings: list[tuple[str, float]]) -> None:
    """One more start. What somebody else broke in the file is begun anew."""
    _change(paths, lambda found: metrics.observe(found, accel, start, timings))


def read(paths: Paths) -> dict[str, Any]:
    """What was added up to now."""
    try:
        return _checked(json.loads((paths.run / NAME).read_bytes()))
    except (OSError, ValueError):
        return {}


def _change(paths: Paths, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    lock = os.open(paths.run / f"{NAME}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fresh = paths.run / f".{NAME}"
        fresh.write_text(json.dumps(change(read(paths))))
        fresh.replace(paths.run / NAME)
    finally:
        os.close(lock)


def _checked(found: Any) -> dict[str, Any]:
    """Only histograms of the buckets that are in use."""
    if not isinstance(found, dict):
        return {}
    size = len(metrics.BUCKETS) + 1
    return {
        key: seen
        for key, seen in found.items()
        if key.count(" ") == 2
        and isinstance(seen, dict)
        and len(seen.get("counts", ())) == size
        and "sum" in seen
    }
