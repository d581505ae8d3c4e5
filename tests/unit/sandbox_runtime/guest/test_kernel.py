"""An ELF kernel out of a bzImage."""

from __future__ import annotations

import gzip
import lzma
import struct
from pathlib import Path

import pytest

from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.guest.kernel import OWN, find_distribution_kernel, own_kernel, vmlinux

ELF = b"\x7fELF" + bytes(range(256)) * 50


def bzimage(payload: bytes, setup_sectors: int = 3) -> bytes:
    """A boot file as the boot protocol describes it, around any payload."""
    payload += struct.pack("<I", len(ELF))
    head = bytearray((max(setup_sectors, 4 if not setup_sectors else 0) + 1) * 512)
    head[0x1F1] = setup_sectors
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 16, len(payload))
    return bytes(head) + bytes(16) + payload + b"tail"


@pytest.mark.parametrize("payload", [gzip.compress(ELF), lzma.compress(ELF)])
@pytest.mark.parametrize("setup_sectors", [0, 3, 27])
def test_the_kernel_is_found_and_unpacked(payload: bytes, setup_sectors: int) -> None:
    assert vmlinux(bzimage(payload, setup_sectors)) == ELF


def test_an_elf_file_is_taken_as_it_is() -> None:
    assert vmlinux(ELF) == ELF


@pytest.mark.parametrize(
    "junk", [b"", b"junk" * 1000, bzimage(b"what is this"), bzimage(gzip.compress(b"no kernel"))]
)
def test_what_is_no_kernel_is_named(junk: bytes) -> None:
    with pytest.raises(HostUnfit, match="guest kernel"):
        vmlinux(junk)


def test_the_newest_kernel_that_has_modules_is_taken(tmp_path: Path) -> None:
    boot, modules = tmp_path / "boot", tmp_path / "modules"
    boot.mkdir()
    for release in ("6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64", "6.12.0-1-cloud-amd64"):
        (boot / f"vmlinuz-{release}").touch()
        if not release.startswith("6.12"):
            (modules / release).mkdir(parents=True)
            (modules / release / "modules.dep").touch()
    assert find_distribution_kernel(boot, modules).release == "6.1.0-56-cloud-amd64"


def test_a_missing_kernel_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(HostUnfit, match="apt-get install linux-image-cloud-amd64"):
        find_distribution_kernel(tmp_path, tmp_path)


def test_a_kernel_that_was_built_is_found_as_long_as_it_is_there(tmp_path: Path) -> None:
    assert own_kernel(tmp_path) is None
    home = tmp_path / "kernels/one"
    home.mkdir(parents=True)
    (home / "release").write_text("6.1.1-bulkhead\n")
    (tmp_path / OWN).symlink_to("kernels/one")
    found = own_kernel(tmp_path)
    assert found is not None
    assert (found.release, found.boot_file) == ("6.1.1-bulkhead", home / "vmlinux")
    (home / "release").unlink()
    assert own_kernel(tmp_path) is None
