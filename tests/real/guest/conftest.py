"""Fixtures of the guest's tests: the compiled agent, the built guest, one booted guest for a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox_runtime.model import GuestImage
from tests.support.agent_process import agent_binary_path, cache
from tests.support.guest_machine import missing
from tests.support.guest_sessions import GuestSession, booted, guest_image


@pytest.fixture(scope="session")
def agent() -> Path:
    binary = agent_binary_path()
    if binary is None:
        pytest.skip("no Go toolchain: apt-get install golang-go")
    return binary


@pytest.fixture(scope="session")
def guest(agent: Path) -> GuestImage:
    if why := missing():
        pytest.skip(why)
    return guest_image(cache())


@pytest.fixture(scope="module")
def session(guest: GuestImage) -> Iterator[GuestSession]:
    with booted(guest) as session:
        session.lay_out_rootfs()
        yield session
