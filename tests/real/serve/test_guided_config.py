"""A real kube-scheduler under the shipped configuration for guided pods: bind alone guards, and that is enough."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.control_plane.scheduler import KubeScheduler
from tests.support.kubernetes import Api, ControlPlane, wait_until
from tests.support.serving import Serving, get_pod, make_pod

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("serve"), pytest.mark.timeout(300)]

CONFIG = Path(__file__).parents[3] / "deploy" / "scheduler" / "kube-scheduler-guided.yaml"


@pytest.fixture
def scheduler(plane: ControlPlane, serving: Serving) -> Iterator[KubeScheduler]:
    shipped: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    (extender,) = shipped["extenders"]
    assert "filterVerb" not in extender
    del extender["tlsConfig"]
    extender |= {"urlPrefix": f"http://127.0.0.1:{serving.port}", "enableHTTPS": False}
    running = KubeScheduler(plane, {"profiles": shipped["profiles"], "extenders": [extender]})
    try:
        running.wait_ready()
        yield running
    finally:
        running.end()


@pytest.mark.usefixtures("scheduler")
def test_a_guided_pod_is_bound_where_it_was_guided(api: Api, serving: Serving) -> None:
    make_pod(api, "agents", "guided")
    wait_until("it is bound", lambda: serving.explain("agents/guided").get("stage") == "bound" or None)
    node = get_pod(api, "agents", "guided")["spec"]["nodeName"]
    assert serving.explain("agents/guided")["node"] == node


@pytest.mark.usefixtures("scheduler")
def test_a_pod_without_a_gate_is_bound_within_its_quota_and_refused_beyond(api: Api) -> None:
    make_pod(api, "agents", "small", gated=False)
    make_pod(api, "agents", "wide", cpu="9", gated=False)  # max 8; 16 on each node

    def refused() -> list[str] | None:
        events = api.get("/apis/events.k8s.io/v1/namespaces/agents/events").body["items"]
        notes = [event["note"] for event in events if event["regarding"]["name"] == "wide"]
        return [note for note in notes if "ExceedsMaxQuota" in note] or None

    wait_until("the small one is bound", lambda: get_pod(api, "agents", "small")["spec"].get("nodeName"))
    wait_until("the event of the wide one says why", refused)
    assert "nodeName" not in get_pod(api, "agents", "wide")["spec"]
