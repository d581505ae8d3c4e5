"""How a start begins: who we are to the API server, and that a dead start hands over everything."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from benchmarks import rebuild
from scheduler.kube.connection import Connection
from scheduler.kube.credentials import find
from tests.support.kubernetes import ControlPlane
from tests.support.serving_client import jitter

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("serving")]


def test_a_dead_start_of_a_small_cluster_hands_over_everything(plane: ControlPlane) -> None:
    (found,) = rebuild.starts(plane, runs=1)
    assert found["empty"] > 0
    assert found["kept"] > 0
    assert found["pods"] >= 600
    assert found["nodes"] == 20


def test_the_kubeconfig_names_who_we_are_and_a_wrong_token_is_refused(
    plane: ControlPlane, tmp_path: Path
) -> None:
    config = json.loads(plane.kubeconfig().read_text())
    config["users"][0]["user"]["token"] = "wrong"
    wrong = tmp_path / "wrong.kubeconfig"
    wrong.write_text(json.dumps(config))

    async def session() -> None:
        async with Connection(find(wrong), jitter()) as connection:
            assert (await connection.request("GET", "/api/v1/nodes")).status == 401

    asyncio.run(session())
    assert "wrong" not in repr(find(wrong))
