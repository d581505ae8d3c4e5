"""Native PodGroups, on an API server that has them (alpha in 1.36): nobody starts before enough of a group can."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubernetes import ControlPlane, tools, wait_until
from tests.support.serving import ACCOUNT, GATE, Serving, get_pod, is_open, make_world

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("serve-groups")]
FLAGS = ("--feature-gates=GenericWorkload=true", "--runtime-config=scheduling.k8s.io/v1alpha2=true")


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    with ControlPlane(tools(), tmp_path / "plane", {ACCOUNT: ()}, FLAGS) as plane:
        make_world(plane.api())
        yield plane


def member(name: str, group: str) -> dict[str, Any]:
    container = {"name": "main", "image": "x", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
    spec = {
        "schedulerName": "bulkhead-scheduler", "schedulingGates": [{"name": GATE}], "containers": [container],
        "schedulingGroup": {"podGroupName": group},
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def test_a_native_group_goes_when_it_is_known_and_complete(plane: ControlPlane, tmp_path: Path) -> None:
    api = plane.api()
    with Serving(plane, tmp_path, f"sqlite:{tmp_path}/ledger.db", "--no-leader-election") as serving:
        for number in range(2):
            answer = api.create(member(f"g{number}", "gang"), "platform")
            assert answer.ok, answer.message
        wait_until(
            "it waits", lambda: serving.explain("platform/g0").get("code") == "WaitingForGroup" or None
        )
        group = {
            "apiVersion": "scheduling.k8s.io/v1alpha2", "kind": "PodGroup", "metadata": {"name": "gang"},
            "spec": {"schedulingPolicy": {"gang": {"minCount": 3}}},
        }  # fmt: skip
        made = api.create(group, "platform")
        assert made.ok, made.message
        wait_until("it counts", lambda: "2/3" in str(serving.explain("platform/g0").get("detail")) or None)
        assert not any(is_open(get_pod(api, "platform", f"g{n}")) for n in range(2))
        assert api.create(member("g2", "gang"), "platform").ok
        for number in range(3):
            wait_until("all go", lambda n=number: is_open(get_pod(api, "platform", f"g{n}")) or None)  # type: ignore[misc]
