"""A control plane with tenants' namespaces and nodes, and a server with a ledger of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kubernetes import Api, ControlPlane, control_plane, wait_until
from tests.support.serving import ACCOUNT, Serving, make_world


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    for one in control_plane(tmp_path_factory.mktemp("serve") / "plane", {ACCOUNT: ()}):
        make_world(one.api())
        yield one


@pytest.fixture
def api(plane: ControlPlane) -> Iterator[Api]:
    """A connection; every pod is gone afterwards."""
    connection = plane.api()
    yield connection

    def empty() -> bool | None:
        for namespace in ("agents", "platform", "stranger"):
            connection.delete(f"/api/v1/namespaces/{namespace}/pods")
        return not connection.get("/api/v1/pods").body["items"] or None

    wait_until("no pod is left", empty)


@pytest.fixture
def serving(plane: ControlPlane, api: Api, tmp_path: Path) -> Iterator[Serving]:
    with Serving(plane, tmp_path, f"sqlite:{tmp_path}/ledger.db", "--lease-namespace=kube-system") as process:
        yield process
