"""The disk under a container's writes: as large as allowed, quick to make, sparse."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from sandbox_runtime.rootfs.upper import RootOwner, create, used

pytestmark = pytest.mark.skipif(
    not shutil.which("mkfs.ext4"), reason="mkfs.ext4 (e2fsprogs) is not installed"
)
MIB = 1 << 20


def debugfs(disk: Path, request: str) -> str:
    return subprocess.run(
        ["debugfs", "-R", request, str(disk)], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("size", [1, 16 * MIB, 100 * MIB + 5, 1 << 30, 20 << 30])
def test_a_disk_is_sound_sparse_and_no_larger_than_asked_for(tmp_path: Path, size: int) -> None:
    made = create(tmp_path / "disk", size, tmp_path / "templates")
    assert made == (tmp_path / "disk").stat().st_size == max(16 * MIB, size // MIB * MIB)
    assert used(tmp_path / "disk") < 2 * MIB
    assert (
        subprocess.run(["e2fsck", "-fn", str(tmp_path / "disk")], capture_output=True, check=False).returncode
        == 0
    )


def test_the_root_has_the_owner_that_the_image_says(tmp_path: Path) -> None:
    create(tmp_path / "disk", 16 * MIB, tmp_path / "templates", RootOwner(0o1770, 5, 6))
    assert "Mode:  01770" in debugfs(tmp_path / "disk", "stat /upper")
    assert "User:     5   Group:     6" in debugfs(tmp_path / "disk", "stat /upper")


def test_the_second_disk_of_a_size_is_a_copy_of_the_same_template(tmp_path: Path) -> None:
    for name in ("a", "b"):
        create(tmp_path / name, 16 * MIB, tmp_path / "templates")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert len([path for path in (tmp_path / "templates").iterdir() if path.name.startswith("ext4-")]) == 1


def test_a_disk_is_never_made_over_another(tmp_path: Path) -> None:
    (tmp_path / "disk").write_text("precious")
    with pytest.raises(FileExistsError):
        create(tmp_path / "disk", 16 * MIB, tmp_path / "templates")
    assert (tmp_path / "disk").read_text() == "precious"
