"""A real API server for plan and apply. Each test starts from a cluster that holds nothing of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.live.server import Server
from tests.support.kubernetes import ControlPlane, tools

USERS = {"weak": (), "reader": (), "rival": ("system:masters",)}


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("live") / "plane"
    with ControlPlane(tools(), directory, USERS) as running:
        running.start_controllers("namespace-controller")
        yield running


@pytest.fixture
def server(plane: ControlPlane, tmp_path: Path) -> Iterator[Server]:
    one = Server(plane, tmp_path)
    try:
        yield one
    finally:
        one.clean()
