"""An unprivileged user for each VM, so that two VMMs that were taken over cannot touch each other.

Ids come from a range that no distribution hands out (systemd's UIDS-GIDS leaves 1,879,048,192 to 2,147,483,647 free).
A claim is a file named by the id that holds the sandbox's; it is made by link(2), which is atomic, and is stale as
soon as the sandbox has no directory any more.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.paths import Paths, check_id

FIRST, COUNT = 1_900_000_000, 65_536


def claim(paths: Paths, sandbox_id: str) -> int:
    """A user id that no other sandbox has; the same again for the same sandbox."""
    paths.uids.mkdir(parents=True, exist_ok=True)
    mine = paths.uids / f".{check_id(sandbox_id)}.{os.getpid()}"
    mine.write_text(sandbox_id)
    try:
        start = zlib.crc32(sandbox_id.encode()) % COUNT
        for step in range(COUNT):
            uid = FIRST + (start + step) % COUNT
            if _take(paths, mine, uid, sandbox_id):
                return uid
    finally:
        mine.unlink()
    raise HostUnfit(
        "no user id is free", f"{COUNT} sandboxes have one", f"remove stale files in {paths.uids}"
    )


def release(paths: Paths, sandbox_id: str, uid: int) -> None:
    """Give `uid` back; nothing happens where it is another's."""
    place = paths.uids / str(uid)
    if _holder(place) == sandbox_id:
        place.unlink(missing_ok=True)


def forget(paths: Paths, sandbox_id: str) -> None:
    """Give back whatever a sandbox has; for an owner that does not know any more."""
    for place in paths.uids.glob("[0-9]*"):
        release(paths, sandbox_id, int(place.name))


def _take(paths: Paths, mine: Path, uid: int, sandbox_id: str) -> bool:
    place = paths.uids / str(uid)
    for _ in range(2):
        try:
            place.hardlink_to(mine)
        except FileExistsError:
            holder = _holder(place)
            if holder == sandbox_id:
                return True
            if holder is None or (paths.sandboxes / holder).exists():
                return False
            place.unlink(missing_ok=True)
        else:
            return True
    return False


def _holder(place: Path) -> str | None:
    try:
        return place.read_text()
    except OSError:
        return None
