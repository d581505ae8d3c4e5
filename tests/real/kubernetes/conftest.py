"""One real API server for all tests of this room, with the rendered set applied and pods from before it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real.kubernetes.world import World, build
from tests.support.kubernetes import ControlPlane, tools

USERS = {
    "ada": ("agents-team",),  # administers the untrusted tenant
    "grace": (),  # administers the trusted one
    "mallory": (),  # of the untrusted tenant; was given every right in its namespaces by mistake
    "margaret": (),  # the same in the trusted one
    "provisioner": (),  # creates and labels namespaces, for self-service
}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("kubernetes") / "plane"
    with ControlPlane(tools(), directory, USERS) as plane:
        yield build(plane)
