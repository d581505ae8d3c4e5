"""Whose a namespace is, and that one which somebody makes under a prefix is in hand from its first moment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tenants.manifests import render
from tests.real.kubernetes.world import (
    STRICT,
    World,
    assert_denied,
    must,
    namespace,
    sandboxed,
)
from tests.support.escapes import Json, plain_pod
from tests.support.kubernetes import wait_until
from tests.support.manifests import TENANTS

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("kubernetes")]


@pytest.mark.parametrize(
    "name",
    ["agents-1", "agents-vip", "agents-vip-1", "agents-vipx", "agentsx", "platform-x", "platformx",
     "a", "agents-" + "x" * 56],
)  # fmt: skip
def test_the_policies_and_the_model_agree_on_whose_a_namespace_is(world: World, name: str) -> None:
    answer = world.provisioner.call("POST", "/api/v1/namespaces?dryRun=All", namespace(name))
    owner = TENANTS.tenant_of(name)
    labels = must(answer).body["metadata"]["labels"]
    assert labels.get("bulkhead.dev/tenant") == (owner.name if owner else None)
    assert labels.get("bulkhead.dev/trust") == (owner.trust if owner else None)


@pytest.fixture
def fresh(world: World) -> Iterator[str]:
    """A namespace that somebody has just made under the untrusted tenant's prefix."""
    must(world.provisioner.create(namespace("agents-fresh")))
    yield "agents-fresh"
    must(world.admin.delete("/api/v1/namespaces/agents-fresh"))
    gone = wait_until(
        "the namespace is gone",
        lambda: world.admin.get("/api/v1/namespaces/agents-fresh").status == 404 or None,
    )
    assert gone  # the controllers could take our objects away with it


def test_one_under_a_prefix_is_labelled_the_moment_it_is_made(world: World, fresh: str) -> None:
    labels = must(world.admin.get(f"/api/v1/namespaces/{fresh}")).body["metadata"]["labels"]
    assert labels == {
        "bulkhead.dev/tenant": "agents",
        "bulkhead.dev/trust": "untrusted",
        "kubernetes.io/metadata.name": fresh,
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
    }


def test_it_runs_no_pod_before_its_walls_stand(world: World, fresh: str) -> None:
    account = f"/api/v1/namespaces/{fresh}/serviceaccounts/default"
    wait_until("the service account", lambda: world.admin.get(account).ok or None)
    assert_denied(world.try_pod(world.admin, fresh, plain_pod("early")), "namespace-not-ready")
    escape = sandboxed(plain_pod("early"))
    escape["spec"]["runtimeClassName"] = "runc"
    assert_denied(world.try_pod(world.admin, fresh, escape), "untrusted-runtime")
    ready = {"metadata": {"labels": {"bulkhead.dev/ready": "true"}}}
    assert_denied(world.provisioner.merge(f"/api/v1/namespaces/{fresh}", ready), "ready-label")
    world.apply_all(render(TENANTS, live_namespaces=[STRICT, fresh]))
    wait_until("pods are let in", lambda: world.try_pod(world.ada, fresh, plain_pod("on-time")).ok or None)


def test_nobody_moves_a_namespace_to_another_tenant(world: World, fresh: str) -> None:
    path = f"/api/v1/namespaces/{fresh}"
    for label, value in (("tenant", "platform"), ("tenant", None), ("trust", "trusted"), ("trust", None)):
        change = {"metadata": {"labels": {f"bulkhead.dev/{label}": value}}}
        labels = must(world.provisioner.merge(path, change)).body["metadata"]["labels"]
        assert (labels["bulkhead.dev/tenant"], labels["bulkhead.dev/trust"]) == ("agents", "untrusted")


def test_a_namespace_of_nobody_cannot_call_itself_a_tenants(world: World) -> None:
    for label in ("tenant", "trust"):
        forged = namespace("nobodys", **{f"bulkhead.dev/{label}": "platform"})
        assert_denied(world.provisioner.create(forged), f"{label}-label")


def test_the_level_of_pod_security_is_lowered_by_the_platform_alone(world: World) -> None:
    one = {
        "apiGroups": [""],
        "resources": ["namespaces"],
        "resourceNames": [STRICT],
        "verbs": ["patch", "get"],
    }
    rbac = "rbac.authorization.k8s.io"
    role: Json = {
        "apiVersion": f"{rbac}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "own-namespace"},
    }
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "own-namespace"},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "own-namespace"},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": "ada"}],
    }
    must(world.admin.create({**role, "rules": [one]}))
    must(world.admin.create(binding))
    path = f"/api/v1/namespaces/{STRICT}"
    wait_until("the right counts", lambda: world.ada.get(path).ok or None)
    for level in ("privileged", None):
        lower = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}}
        assert_denied(world.ada.merge(path + "?dryRun=All", lower), "pod-security-label")
    fine = {"metadata": {"labels": {"team": "blue"}}}
    assert must(world.ada.merge(path + "?dryRun=All", fine)).ok
