"""Launchers with stores of their own: one for all tests that do it no harm, and one for a test alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox_runtime.vmm.launch import Launcher
from tests.support.vmm import launcher


@pytest.fixture(scope="package")
def shared() -> Iterator[Launcher]:
    """One template store for tests that do it no harm."""
    with launcher() as starts:
        yield starts


@pytest.fixture
def own() -> Iterator[Launcher]:
    with launcher() as starts:
        yield starts
