"""The guest image: the same bytes every time, made without root, rebuilt when it was damaged."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox_runtime.guest.build import build
from sandbox_runtime.model import GuestImage
from sandbox_runtime.paths import Paths

pytestmark = pytest.mark.real
NOBODY = 65534


def build_in(cache: Path, agent: Path) -> GuestImage:
    return build(Paths(cache / "run", cache), agent=agent)


def test_two_builds_are_the_same_bytes(guest: GuestImage, agent: Path, tmp_path: Path) -> None:
    first, second = build_in(tmp_path / "a", agent), build_in(tmp_path / "b", agent)
    assert first.digest == second.digest
    assert first.image is not None
    assert second.image is not None
    assert first.image.read_bytes() == second.image.read_bytes()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can build as somebody else too")
def test_a_build_without_root_is_the_same_bytes(guest: GuestImage, agent: Path, tmp_path: Path) -> None:
    mine = build_in(tmp_path / "root", agent)
    theirs = tmp_path / "nobody"
    theirs.mkdir()
    (theirs / "agent").write_bytes(agent.read_bytes())
    os.chown(theirs, NOBODY, NOBODY)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o001 == 0:
            folder.chmod(folder.stat().st_mode | 0o011)
    child = os.fork()  # not another interpreter: that one may lie where nobody may read
    if child == 0:
        os._exit(build_as_nobody(theirs))
    assert os.waitpid(child, 0)[1] == 0, (theirs / "said").read_text()
    assert (theirs / "said").read_text() == mine.digest


def build_as_nobody(folder: Path) -> int:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    try:
        (folder / "said").write_text(build_in(folder, folder / "agent").digest)
    except Exception as error:
        (folder / "said").write_text(repr(error))
        return 1
    return 0


def test_many_at_once_build_once(guest: GuestImage, agent: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda _: build_in(tmp_path, agent), range(4)))
    assert len(set(images)) == 1
    assert [
        path.name for path in tmp_path.joinpath("guest").iterdir() if path.name.startswith(".building")
    ] == []


def test_a_damaged_image_is_made_again(guest: GuestImage, agent: Path, tmp_path: Path) -> None:
    made = build_in(tmp_path, agent)
    assert made.image is not None
    made.image.chmod(0o644)
    with made.image.open("r+b") as file:
        file.seek(4096)
        file.write(b"damage")
    again = build_in(tmp_path, agent)
    assert again.digest == made.digest
    assert again.image is not None
    assert b"damage" not in again.image.read_bytes()[4096:5000]
