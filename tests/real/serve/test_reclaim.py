"""A guaranteed tenant gets its capacity back: real evictions by a real API server, budgets and all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubernetes import Api, ControlPlane, ControlPlaneBroken, wait_until
from tests.support.serving import Serving, get_pod, is_open, make_pod, two_tenants

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("serve")]

HALVES = two_tenants(
    "{cpu: {guaranteed: 24, max: 48}, memory: {guaranteed: 8Gi, max: 64Gi}}",
    "{cpu: {guaranteed: 16, max: 48}, memory: {guaranteed: 8Gi, max: 64Gi}}",
)


@pytest.fixture
def halves(plane: ControlPlane, api: Api, tmp_path: Path) -> Iterator[Serving]:
    """Two tenants, of whom platform has filled the cluster: 12 pods of 4 CPU on 48."""
    with Serving(plane, tmp_path, f"sqlite:{tmp_path}/ledger.db", tenants=HALVES) as process:
        for number in range(12):
            make_pod(api, "platform", f"b{number}", cpu="4", labels={"app": "batch"})
        for number in range(12):
            bind_when_open(api, process, "platform", f"b{number}")
        yield process


def bind_when_open(api: Api, serving: Serving, namespace: str, name: str) -> None:
    pod = wait_until(
        f"{name} is let through", lambda: found if is_open(found := get_pod(api, namespace, name)) else None
    )
    assert serving.bind(pod, serving.explain(f"{namespace}/{name}")["node"]) == ""


def leaving(api: Api) -> list[dict[str, Any]]:
    pods = api.get("/api/v1/namespaces/platform/pods").body["items"]
    return [pod for pod in pods if pod["metadata"].get("deletionTimestamp")]


def test_a_borrower_is_evicted_for_who_is_guaranteed_and_no_more_than_needed(
    api: Api, halves: Serving
) -> None:
    make_pod(api, "agents", "mine", cpu="2")
    (victim,) = wait_until("somebody leaves", lambda: leaving(api) or None)
    assert halves.explain("agents/mine")["code"] in {
        "Reclaiming",
        "WaitingForQuota",
        "NoRoom",
        "WaitingForNode",
    }
    events = api.get("/apis/events.k8s.io/v1/namespaces/platform/events").body["items"]
    assert "Reclaimed" in {event["reason"] for event in events}
    # No kubelet runs here that would end the victim's containers and confirm its end.
    assert api.delete(f"/api/v1/namespaces/platform/pods/{victim['metadata']['name']}").ok
    bind_when_open(api, halves, "agents", "mine")
    assert leaving(api) == []


def test_a_disruption_budget_holds(api: Api, halves: Serving) -> None:
    budget = {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "all"},
        "spec": {"minAvailable": 12, "selector": {"matchLabels": {"app": "batch"}}},
    }  # fmt: skip
    assert api.create(budget, "platform").ok
    try:
        make_pod(api, "agents", "mine", cpu="2")
        wait_until("it waits", lambda: halves.explain("agents/mine").get("code") or None)
        with pytest.raises(ControlPlaneBroken):
            wait_until("somebody leaves", lambda: leaving(api) or None, 4)
    finally:
        api.delete("/apis/policy/v1/namespaces/platform/poddisruptionbudgets/all")
    wait_until("without the budget somebody leaves", lambda: leaving(api) or None)


def test_nobody_is_evicted_for_a_borrower(api: Api, halves: Serving) -> None:
    for number in range(16):
        make_pod(api, "agents", f"a{number}", cpu="2")  # 11 of them are 23.1 of 24 guaranteed

    def through() -> int:
        return sum(is_open(get_pod(api, "agents", f"a{number}")) for number in range(16))

    def go() -> bool | None:
        for victim in leaving(api):
            api.delete(f"/api/v1/namespaces/platform/pods/{victim['metadata']['name']}")
        return through() >= 11 or None

    wait_until("all within the guarantee go", go, 120)
    time.sleep(3)  # as long as three more looks
    left = api.get("/api/v1/namespaces/platform/pods").body["items"]
    assert leaving(api) == []
    assert len(left) >= 5  # 16 CPU hold 7 pods of 2.1 and 12 CPU the other 4: seven victims of 4 CPU at most
    assert (
        through() <= 13
    )  # what those seven freed beyond the guarantee may be borrowed; nobody leaves for that
