"""`bulkhead sandbox doctor` on this host, and on one that lacks something."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.sandboxes import Ran, World, world

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def here() -> Iterator[World]:
    with world() as made:
        yield made


def doctor(here: World, *words: str, path: str = os.environ["PATH"]) -> Ran:
    done = subprocess.run(
        here.argv("doctor", *words),
        capture_output=True,
        timeout=60,
        check=False,
        env=os.environ | {"PATH": path},
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def test_its_status_is_that_of_what_is_needed(here: World) -> None:
    for words in (("--allow-emulation",), ()):
        ran = doctor(here, "--json", *words)
        found = json.loads(ran.out)
        assert len({each["what"] for each in found}) == len(found)
        assert ran.status == any(each["needed"] and not each["good"] for each in found), ran.err
        assert all(each["remedy"] for each in found if not each["good"])


def test_it_looks_into_a_child_to_know_whether_freed_memory_can_go_back(here: World) -> None:
    found = {each["what"]: each for each in json.loads(doctor(here, "--json").out)}
    looked = found["freed memory goes back (restored sandboxes)"]
    assert looked["good"] or "cannot be traced" in looked["seen"]


def test_what_is_not_there_is_named_with_what_to_do(here: World) -> None:
    ran = doctor(here, "--allow-emulation", path="/nonexistent")
    assert ran.status == 1
    assert b"install qemu-system-x86" in ran.out
    assert b"mkfs.ext4 (private disks): install e2fsprogs" in ran.out
