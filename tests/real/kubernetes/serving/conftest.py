"""An API server for the tests of the serving loop's door to it, filled with nodes and pods; they kill it."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from benchmarks.control_plane.filling import fill
from benchmarks.extender.beside import ACCOUNT
from tests.support.kubernetes import ControlPlane, tools


@pytest.fixture(scope="package")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("serving") / "plane"
    with ControlPlane(tools(), directory, {ACCOUNT: ()}) as started:
        fill(started, nodes=20, pods=600)
        yield started


@pytest.fixture
def namespace(plane: ControlPlane) -> str:
    """A namespace of the test's own."""
    name = f"test-{random.getrandbits(40):x}"
    api = plane.api()
    assert api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).ok
    assert api.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}, name
    ).ok
    return name
