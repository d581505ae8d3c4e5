"""What admission fills in, what quota and limits add to it, and whom all of that leaves alone."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from tenants.manifests import SCHEDULER, render
from tenants.manifests.render import GATE
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
from tests.support.manifests import TENANTS

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


@pytest.fixture
def guided(world: World) -> Iterator[World]:
    """The same rules with the gate in the table, and without it again."""
    (table,) = [one for one in render(TENANTS, guided=True) if one["kind"] == "TenantTable"]
    (plain,) = [one for one in world.rendered if one["kind"] == "TenantTable"]

    def gates(expected: bool) -> bool | None:
        spec = spec_of(world.try_pod(world.ada, STRICT, plain_pod("new")))
        return ("schedulingGates" in spec) is expected or None

    must(world.admin.apply(table))
    wait_until("the gate is filled in", lambda: gates(expected=True))
    yield world
    must(world.admin.apply(plain))
    wait_until("the gate is filled in no more", lambda: gates(expected=False))


def test_tenants_pods_wait_at_the_gate_and_keep_gates_of_their_own(guided: World) -> None:
    own = plain_pod("new")
    own["spec"]["schedulingGates"] = [{"name": "example.org/storage"}]
    spec = spec_of(guided.try_pod(guided.grace, TRUSTED, own))
    assert {gate["name"] for gate in spec["schedulingGates"]} == {"example.org/storage", GATE}


def test_who_does_not_go_past_bulkhead_is_not_gated(guided: World) -> None:
    assert "schedulingGates" not in spec_of(guided.try_pod(guided.admin, "stranger", plain_pod("new")))
    elsewhere = plain_pod("new")
    elsewhere["spec"]["schedulerName"] = "another-scheduler"
    assert "schedulingGates" not in spec_of(guided.try_pod(guided.grace, TRUSTED, elsewhere))


def test_opening_the_gate_passes_the_rules_of_the_wall(guided: World) -> None:
    must(guided.grace.create(plain_pod("gated"), TRUSTED))
    path = f"/api/v1/namespaces/{TRUSTED}/pods/gated"
    opened = must(guided.admin.merge(path, {"spec": {"schedulingGates": None}}))
    assert "schedulingGates" not in spec_of(opened)
    must(guided.admin.delete(path))
