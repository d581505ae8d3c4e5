"""What holds when a part is missing: no mutation, no facts, or everything gone and set up again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec import structs

from tenants.manifests import render
from tenants.model import Tenant
from tests.real.kubernetes.world import (
    STRICT,
    TRUSTED,
    UNTRUSTED,
    World,
    assert_denied,
    must,
    namespace,
    sandboxed,
    spec_of,
)
from tests.support.escapes import plain_pod
from tests.support.kubernetes import Answer, collection, wait_until
from tests.support.manifests import TENANTS, find, pick

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("kubernetes")]


@pytest.fixture
def without_mutation(world: World) -> Iterator[None]:
    """A cluster that has validating policies only."""
    bindings = list(pick(world.rendered, "MutatingAdmissionPolicyBinding"))
    for binding in bindings:
        must(world.admin.delete(f"{collection(binding)}/{binding['metadata']['name']}"))
    wait_until(
        "mutation has stopped",
        lambda: not world.try_pod(world.ada, UNTRUSTED, plain_pod("new")).ok or None,
    )
    yield
    world.apply_all(bindings)
    world.enforced()


@pytest.mark.usefixtures("without_mutation")
def test_without_mutation_a_silent_pod_is_refused_and_an_outspoken_one_runs(world: World) -> None:
    answer = world.try_pod(world.ada, STRICT, plain_pod("silent"))
    assert_denied(answer, "untrusted-runtime")
    assert "names no runtimeClassName; allowed: bulkhead" in answer.message
    pod = plain_pod("half-silent")
    pod["spec"]["runtimeClassName"] = "bulkhead"
    assert_denied(world.try_pod(world.ada, STRICT, pod), "scheduler-name")
    assert spec_of(world.try_pod(world.ada, STRICT, sandboxed(plain_pod("outspoken"))))
    assert spec_of(world.try_pod(world.grace, TRUSTED, plain_pod("trusted")))


@pytest.mark.usefixtures("without_mutation")
def test_without_mutation_a_namespace_without_its_label_is_refused(world: World) -> None:
    wait_until(
        "namespaces are not mutated",
        lambda: not world.provisioner.call(
            "POST", "/api/v1/namespaces?dryRun=All", namespace("agents-bare")
        ).ok or None,
    )  # fmt: skip
    assert_denied(world.provisioner.create(namespace("agents-bare")), "tenant-label")
    whole = {"bulkhead.dev/tenant": "agents", "bulkhead.dev/trust": "untrusted"}
    path = "/api/v1/namespaces?dryRun=All"
    assert must(world.provisioner.call("POST", path, namespace("agents-bare", **whole))).ok
    moved = {"metadata": {"labels": {"bulkhead.dev/tenant": "platform"}}}
    assert_denied(world.provisioner.merge(f"/api/v1/namespaces/{STRICT}", moved), "tenant-label")


def test_without_facts_nothing_gets_in_and_the_cluster_itself_goes_on(world: World) -> None:
    facts = find(world.rendered, "TenantTable", "tenants")
    kind = find(world.rendered, "CustomResourceDefinition", "tenanttables.bulkhead.dev")
    guard = find(world.rendered, "ValidatingAdmissionPolicyBinding", "bulkhead-facts")
    path = f"{collection(facts)}/tenants"
    assert_denied(world.admin.delete(path), "facts-in-use")
    assert_denied(world.admin.delete(f"{collection(kind)}/tenanttables.bulkhead.dev"), "facts-in-use")
    must(world.admin.delete(f"{collection(guard)}/bulkhead-facts"))
    wait_until("the guard is gone", lambda: world.admin.delete(path).ok or None)
    try:
        refused = wait_until(
            "pods are refused",
            lambda: _refusal(world.try_pod(world.ada, STRICT, sandboxed(plain_pod("new")))),
        )
        assert "failed to configure binding" in refused.message
        escape = sandboxed(plain_pod("new"))
        escape["spec"]["runtimeClassName"] = "runc"
        assert not world.try_pod(world.ada, STRICT, escape).ok
        assert spec_of(world.try_pod(world.admin, "kube-system", plain_pod("dns")))
    finally:
        world.apply_all([facts, guard])
        world.enforced()


def test_facts_are_followed_after_a_reinstallation(world: World) -> None:
    """Where they were a ConfigMap, they would stay frozen: kube-apiserver ends that informer for good."""
    kinds = ("ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding")
    bindings = [binding for kind in kinds for binding in pick(world.rendered, kind)]
    for binding in bindings:
        must(world.admin.delete(f"{collection(binding)}/{binding['metadata']['name']}"))
    escape = sandboxed(plain_pod("new"))
    escape["spec"]["hostPID"] = True
    wait_until("policies are gone", lambda: world.try_pod(world.ada, UNTRUSTED, escape).ok or None)
    newcomer = Tenant(name="newcomer", namespaces=("newcomer",))
    tenants = structs.replace(TENANTS, tenants={**TENANTS.tenants, "newcomer": newcomer})
    try:
        world.apply_all(render(tenants, live_namespaces=[STRICT]))
        world.enforced()
        lower = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}
        must(world.admin.merge("/api/v1/namespaces/newcomer", lower))
        account = "/api/v1/namespaces/newcomer/serviceaccounts/default"
        wait_until("the service account", lambda: world.admin.get(account).ok or None)
        assert_denied(world.try_pod(world.admin, "newcomer", escape), "host-namespace")
    finally:
        world.apply_all()
        world.enforced()


def _refusal(answer: Answer) -> Answer | None:
    return None if answer.ok else answer
