"""What admission fills in, what quota and limits add to it, and whom all of that leaves alone."""

from __future__ import annotations

import copy

import pytest

from tenants.manifests import SCHEDULER
from tests.real.kubernetes.world import (
    STRICT,
    TRUSTED,
    UNTRUSTED,
    World,
    assert_denied,
    must,
    spec_of,
)
from tests.support.escapes import plain_pod
from tests.support.kubernetes import wait_until

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("kubernetes")]


def test_an_untrusted_pod_gets_the_sandbox_its_overhead_and_the_scheduler(world: World) -> None:
    spec = spec_of(world.try_pod(world.ada, STRICT, plain_pod("new")))
    assert spec["runtimeClassName"] == "bulkhead"
    assert spec["schedulerName"] == SCHEDULER
    assert spec["overhead"] == {"cpu": "100m", "memory": "128Mi"}


def test_a_trusted_pod_keeps_its_runtime_and_gets_the_scheduler(world: World) -> None:
    spec = spec_of(world.try_pod(world.grace, TRUSTED, plain_pod("new")))
    assert "runtimeClassName" not in spec
    assert "overhead" not in spec
    assert spec["schedulerName"] == SCHEDULER


@pytest.mark.parametrize("name", ["bulkhead", "runc"])
def test_a_trusted_pod_may_ask_for_any_class(world: World, name: str) -> None:
    pod = plain_pod("new")
    pod["spec"]["runtimeClassName"] = name
    assert spec_of(world.try_pod(world.grace, TRUSTED, pod))["runtimeClassName"] == name


def test_a_trusted_tenant_that_wants_the_sandbox_gets_it_and_cannot_leave_it(world: World) -> None:
    pod = plain_pod("new")
    assert spec_of(world.try_pod(world.admin, "cautious", pod))["runtimeClassName"] == "bulkhead"
    pod["spec"]["runtimeClassName"] = "runc"
    assert_denied(world.try_pod(world.admin, "cautious", pod), "tenant-runtime")


def test_a_pod_outside_every_tenant_is_left_alone(world: World) -> None:
    pod = plain_pod("new")
    pod["spec"]["hostPID"] = True
    spec = spec_of(world.try_pod(world.admin, "stranger", pod))
    assert "runtimeClassName" not in spec
    assert spec["schedulerName"] == "default-scheduler"


def test_service_accounts_of_an_untrusted_tenant_hand_out_no_token_unasked(world: World) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "worker"}}
    mine = must(world.ada.create(account, UNTRUSTED)).body
    assert mine["automountServiceAccountToken"] is False
    assert "automountServiceAccountToken" not in must(world.grace.create(account, TRUSTED)).body


def test_quota_counts_the_overhead(world: World) -> None:
    path = f"/api/v1/namespaces/{STRICT}/resourcequotas/bulkhead"
    pod = plain_pod("counted")
    pod["spec"].pop("initContainers")
    wait_until("quota is counted", lambda: world.admin.get(path).body.get("status", {}).get("used"))
    must(world.ada.create(pod, STRICT))
    used = world.admin.get(path).body["status"]["used"]
    assert (used["requests.memory"], used["requests.cpu"], used["pods"]) == ("144Mi", "110m", "1")
    too_big = copy.deepcopy(pod)
    too_big["metadata"]["name"] = "too-big"
    too_big["spec"]["containers"][0]["resources"]["requests"]["memory"] = "100Gi"
    refused = world.ada.create(too_big, STRICT)
    assert refused.status == 403
    assert "exceeded quota: bulkhead" in refused.message


def test_a_container_without_requests_gets_them(world: World) -> None:
    pod = plain_pod("new")
    del pod["spec"]["containers"][0]["resources"]
    [container] = spec_of(world.try_pod(world.ada, STRICT, pod))["containers"]
    assert container["resources"]["requests"] == {"cpu": "100m", "memory": "128Mi"}


def test_the_priority_class_of_the_ceiling_is_allowed(world: World) -> None:
    pod = plain_pod("new")
    pod["spec"]["priorityClassName"] = "bulkhead-agents"
    assert spec_of(world.try_pod(world.ada, STRICT, pod))["priority"] == 0


def test_a_device_that_the_quota_names_is_allowed_with_its_taint(world: World) -> None:
    pod = plain_pod("new")
    pod["spec"]["containers"][0]["resources"]["limits"] = {"nvidia.com/gpu": "1"}
    pod["spec"]["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert spec_of(world.try_pod(world.ada, STRICT, pod))
