"""From the gate to the node: what a real API server sees of a pod that Bulkhead guides."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kubernetes import Api, ControlPlane, wait_until
from tests.support.serving import TENANT_FILES, Serving, add_node, get_pod, is_open, make_pod

NOBODY = "00000000-0000-4000-8000-000000000000"

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("serve")]


def opened(api: Api, namespace: str, name: str) -> dict[str, object]:
    def look() -> dict[str, object] | None:
        pod = get_pod(api, namespace, name)
        return pod if is_open(pod) else None

    return wait_until(f"the gate of {name} opens", look)


def test_a_pod_with_quota_is_let_through_with_a_node_in_mind(api: Api, serving: Serving) -> None:
    make_pod(api, "agents", "quick")
    pod = opened(api, "agents", "quick")
    told = serving.explain("agents/quick")
    assert told["stage"] == "assumed"
    assert told["node"] in str(pod)
    assert serving.filter(pod, ["n0", "n1", "n2"])["NodeNames"] == [told["node"]]
    assert serving.bind(pod, str(told["node"])) == ""
    assert get_pod(api, "agents", "quick")["spec"]["nodeName"] == told["node"]
    wait_until("the watch shows it", lambda: serving.explain("agents/quick")["stage"] == "bound" or None)


def test_a_pod_over_its_quota_waits_and_is_told_why(api: Api, serving: Serving) -> None:
    for number in range(8):
        make_pod(api, "agents", f"p{number}")  # 1.1 CPU each, max 8

    def told() -> list[dict[str, str]] | None:
        pods = [get_pod(api, "agents", f"p{number}") for number in range(8)]
        conditions = [c for pod in pods for c in pod["status"].get("conditions", ())]
        return [c for c in conditions if c["type"] == "bulkhead.dev/Admitted"] or None

    (condition,) = wait_until("the last one is told", told)
    assert condition["reason"] == "BorrowingLimitReached"
    assert "tenant agents 4/4 guaranteed, 3700m borrowed" in condition["message"]
    events = api.get("/apis/events.k8s.io/v1/namespaces/agents/events").body["items"]
    assert "BorrowingLimitReached" in {event["reason"] for event in events}


def test_managed_fields_go_with_the_gate_unless_somebody_applied_the_pod(api: Api, serving: Serving) -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": NOBODY, "controller": True}
    made = make_pod(api, "platform", "made", owners=[owner])
    assert made["metadata"]["managedFields"]
    make_pod(api, "platform", "bare")
    opened(api, "platform", "bare")
    assert get_pod(api, "platform", "bare")["metadata"]["managedFields"]
    pod = opened(api, "platform", "made")
    assert "managedFields" not in str(pod["metadata"])
    assert serving.bind(pod, str(serving.explain("platform/made")["node"])) == ""
    assert "managedFields" not in get_pod(api, "platform", "made")["metadata"]


def test_a_pod_that_escaped_the_gate_is_refused_at_bind(api: Api, serving: Serving) -> None:
    pod = make_pod(api, "agents", "wide", cpu="9", gated=False)  # max 8
    wait_until("it is known", lambda: serving.explain("agents/wide").get("stage") == "pending" or None)
    assert "ExceedsMaxQuota" in serving.bind(pod, "n0")
    assert "nodeName" not in get_pod(api, "agents", "wide")["spec"]
    assert serving.explain("agents/wide")["code"] == "BindRefused"


def test_freed_quota_goes_to_who_waits(api: Api, serving: Serving) -> None:
    for number in range(8):
        make_pod(api, "agents", f"p{number}")
    wait_until(
        "seven go", lambda: sum(is_open(get_pod(api, "agents", f"p{n}")) for n in range(8)) == 7 or None
    )
    gone = next(n for n in range(8) if is_open(get_pod(api, "agents", f"p{n}")))
    late = next(n for n in range(8) if not is_open(get_pod(api, "agents", f"p{n}")))
    api.delete(f"/api/v1/namespaces/agents/pods/p{gone}")
    opened(api, "agents", f"p{late}")


def test_who_has_no_room_goes_once_a_node_comes(api: Api, serving: Serving) -> None:
    make_pod(api, "platform", "wide", cpu="40")
    wait_until("it is known", lambda: serving.explain("platform/wide").get("code") == "NoRoom" or None)
    add_node(api, "large", cpu="64")
    opened(api, "platform", "wide")
    assert serving.explain("platform/wide")["node"] == "large"
    api.delete("/api/v1/nodes/large")


def test_pods_of_nobody_are_left_alone(api: Api, serving: Serving) -> None:
    pod = make_pod(api, "stranger", "free", gated=False)
    wait_until("it is known", lambda: serving.explain("stranger/free").get("stage") == "pending" or None)
    assert serving.filter(pod, ["n0", "n1"])["NodeNames"] == ["n0", "n1"]
    assert serving.bind(pod, "n1") == ""
    assert get_pod(api, "stranger", "free")["spec"]["nodeName"] == "n1"


def test_a_group_goes_together_or_not_at_all(api: Api, serving: Serving) -> None:
    labels = {"scheduling.bulkhead.dev/group": "gang", "scheduling.bulkhead.dev/group-size": "3"}
    for number in range(2):
        make_pod(api, "platform", f"g{number}", labels=labels)
    wait_until("it waits", lambda: serving.explain("platform/g0").get("code") == "WaitingForGroup" or None)
    assert not any(is_open(get_pod(api, "platform", f"g{n}")) for n in range(2))
    make_pod(api, "platform", "g2", labels=labels)
    for number in range(3):
        opened(api, "platform", f"g{number}")


def test_a_pod_that_is_deleted_at_the_gate_leaves_nothing_behind(api: Api, serving: Serving) -> None:
    for number in range(8):
        make_pod(api, "agents", f"p{number}")
    for number in range(8):
        api.delete(f"/api/v1/namespaces/agents/pods/p{number}")
    wait_until("all is free again", lambda: serving.metric("bulkhead_quota_used") == 0 or None)
    wait_until("nothing is under way", lambda: serving.metric("bulkhead_in_flight") == 0 or None)


def test_changed_tenant_files_are_in_force_without_a_restart(api: Api, serving: Serving) -> None:
    make_pod(api, "agents", "big", cpu="20")
    wait_until("it waits", lambda: serving.explain("agents/big").get("code") == "ExceedsMaxQuota" or None)
    file = serving.tenants / "tenants.yaml"
    file.write_text("nonsense: [")
    wait_until("the problem is counted", lambda: serving.metric("bulkhead_tenant_problems") or None)
    assert serving.explain("agents/big")["code"] == "ExceedsMaxQuota"


def test_unready_until_everything_is_listed(api: Api, serving: Serving) -> None:
    serving.kill()
    serving.start(ready=False)
    pod = {"metadata": {"name": "x", "namespace": "agents", "uid": "u"}, "spec": {}}

    def answer() -> dict[str, object] | None:
        try:
            return serving.filter(pod, ["n0"])
        except OSError:
            return None

    first = wait_until("it answers", answer)
    assert first["Error"] or serving.call("GET", "/readyz").ok
    serving.wait_ready()


def test_an_aimed_pod_that_misses_its_node_is_ended_for_its_controller(api: Api, serving: Serving) -> None:
    """No controller runs here; what matters is that the pod does not wait for ever for a node that has gone."""
    set_ = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"}}
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
    made = api.create(
        {**set_, "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}},
        "platform",
    )
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": "web",
        "uid": made.body["metadata"]["uid"],
        "controller": True,
    }
    add_node(api, "doomed", cpu="64")
    make_pod(api, "platform", "web-1", cpu="40", labels=labels, owners=[owner])
    pod = opened(api, "platform", "web-1")
    assert "doomed" in str(pod["spec"])
    assert api.delete("/api/v1/nodes/doomed").ok
    gone = api.get("/api/v1/namespaces/platform/pods/web-1")
    wait_until("it is ended", lambda: not api.get("/api/v1/namespaces/platform/pods/web-1").ok or None, 60)
    assert gone.ok
    assert api.delete("/apis/apps/v1/namespaces/platform/replicasets/web").ok


def test_tenants_come_from_a_config_map_too(api: Api, plane: ControlPlane, tmp_path: Path) -> None:
    meta = {"name": "bulkhead-tenants", "namespace": "kube-system"}
    data = {"tenants.yaml": TENANT_FILES}
    assert api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}).ok
    path = "/api/v1/namespaces/kube-system/configmaps/bulkhead-tenants"
    place = "--tenants=configmap:kube-system/bulkhead-tenants"
    with Serving(plane, tmp_path, f"sqlite:{tmp_path}/ledger.db", place) as process:
        make_pod(api, "agents", "big", cpu="12")
        wait_until("it waits", lambda: process.explain("agents/big").get("code") == "ExceedsMaxQuota" or None)
        more = TENANT_FILES.replace("max: 8}", "max: 16}")
        assert api.merge(path, {"data": {"tenants.yaml": more}}).ok
        opened(api, "agents", "big")
    assert api.delete(path).ok
