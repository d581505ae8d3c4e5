"""The fixture itself: it leaves nothing behind, and the official client finds its way in."""

from __future__ import annotations

import os
from pathlib import Path

import kubernetes
import pytest

from tests.support.kubernetes import ControlPlane, ControlPlaneBroken, is_open, tools

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("kubernetes")]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_control_plane_comes_and_goes(tmp_path: Path) -> None:
    directory = tmp_path / "plane"
    with ControlPlane(tools(), directory, {"ada": ("team",)}) as plane:
        plane.start_controllers("namespace-controller")
        client = kubernetes.config.new_client_from_config(str(plane.kubeconfig()))  # type: ignore[no-untyped-call]
        assert kubernetes.client.VersionApi(client).get_code().git_version.startswith("v1.")
        client.close()
        review = plane.api("ada").create(
            {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}}
        )
        assert review.body["status"]["userInfo"]["groups"] == ["team", "system:authenticated"]
        refused = plane.api_with_token("guessed").get("/api/v1/namespaces")
        assert refused.status == 401
        pids, ports = plane.pids, plane.ports
        assert all(map(is_alive, pids))
        assert all(map(is_open, ports))
    assert not any(map(is_alive, pids))
    assert not any(map(is_open, ports))
    assert not directory.exists()


def test_one_that_does_not_start_leaves_nothing_either(tmp_path: Path) -> None:
    directory = tmp_path / "plane"
    plane = ControlPlane(tools(), directory, {'two"quotes': ()})  # breaks the token file
    with pytest.raises(ControlPlaneBroken, match="parse error"), plane:
        pass
    assert not any(map(is_alive, plane.pids))
    assert not any(map(is_open, plane.ports))
    assert not directory.exists()
