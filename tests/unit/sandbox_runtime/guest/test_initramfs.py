"""The archive that the kernel unpacks."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from sandbox_runtime.guest.initramfs import pack

FILES = {"init": b"\x7fELF", "modules/a.ko": b"module", "modules/index": b"boot: a.ko\n"}


def test_the_same_files_give_the_same_bytes() -> None:
    backwards = dict(reversed(FILES.items()))
    assert pack(FILES, frozenset({"init"})) == pack(backwards, frozenset({"init"}))


def test_cpio_reads_it() -> None:
    if shutil.which("cpio") is None:
        pytest.skip("cpio is missing")
    run = subprocess.run(
        ["cpio", "-tv"], input=pack(FILES, frozenset({"init"})), capture_output=True, check=True
    )
    listed = run.stdout.decode().splitlines()
    assert [line.split()[-1] for line in listed] == [
        "modules",
        "init",
        "modules/a.ko",
        "modules/index",
        "dev",
        "dev/console",
    ]
    assert listed[1].startswith("-rwxr-xr-x")
    assert listed[2].startswith("-rw-r--r--")
    assert listed[5].startswith("crw")


def test_every_entry_begins_at_a_multiple_of_four() -> None:
    archive = pack({"odd": b"x" * 5})
    at = archive.find(b"070701", 1)
    while at > 0:
        assert at % 4 == 0
        at = archive.find(b"070701", at + 1)
