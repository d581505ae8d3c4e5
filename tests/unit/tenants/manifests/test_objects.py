"""Namespaces, quota, classes and rights: what each object holds, said outright."""

from __future__ import annotations

import pytest
from msgspec import structs

from tenants.manifests import render
from tenants.manifests.quotas import hard_limits
from tenants.model import Admin, Allowance, Dimension, Group, Quota, Tenant, TenantSet, Trust
from tenants.quantity import UNLIMITED
from tests.support.manifests import AGENTS, CAUTIOUS, PLATFORM, RUNC, SANDBOX, TENANTS, find, pick

WHOLE = render(TENANTS, live_namespaces=["agents-7", "agents-vip-1"])


@pytest.mark.parametrize(
    ("name", "want_tenant", "want_trust", "want_level"),
    [("agents", "agents", "untrusted", "restricted"), ("agents-7", "agents", "untrusted", "restricted"),
     ("agents-vip-1", "cautious", "trusted", "baseline"), ("platform", "platform", "trusted", "baseline")],
)  # fmt: skip
def test_a_namespace_says_whose_it_is(name: str, want_tenant: str, want_trust: str, want_level: str) -> None:
    assert find(WHOLE, "Namespace", name)["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "bulkhead",
        "bulkhead.dev/ready": "true",
        "bulkhead.dev/tenant": want_tenant,
        "bulkhead.dev/trust": want_trust,
        "pod-security.kubernetes.io/enforce": want_level,
        "pod-security.kubernetes.io/warn": want_level,
    }


def test_a_runtime_class_carries_its_overhead_and_its_nodes() -> None:
    manifest = find(WHOLE, "RuntimeClass", "bulkhead")
    assert {key: value for key, value in manifest.items() if key != "metadata"} == {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "handler": "bulkhead",
        "overhead": {"podFixed": {"cpu": "100m", "memory": "128Mi"}},
        "scheduling": {"tolerations": [{"key": "bulkhead.dev/sandbox", "operator": "Exists"}]},
    }
    assert {"overhead", "scheduling"}.isdisjoint(find(WHOLE, "RuntimeClass", "runc"))


def test_toleration_seconds_are_a_number_again() -> None:
    tolerant = structs.replace(
        RUNC, tolerations=({"key": "k", "tolerationSeconds": "30"},), node_selector={"b": "1", "a": "2"}
    )
    [manifest] = pick(render(TenantSet(runtime_classes={"runc": tolerant})), "RuntimeClass")
    assert manifest["scheduling"] == {
        "nodeSelector": {"a": "2", "b": "1"},
        "tolerations": [{"key": "k", "tolerationSeconds": 30}],
    }


@pytest.mark.parametrize(("tenant", "want"), [("agents", 0), ("platform", 1_000_000), ("cautious", 0)])
def test_a_priority_class_stands_at_the_ceiling(tenant: str, want: int) -> None:
    assert find(WHOLE, "PriorityClass", f"bulkhead-{tenant}")["value"] == want


class TestQuota:
    def test_the_bound_is_the_smallest_on_the_path_and_the_class_counts_where_all_pods_are_of_it(
        self,
    ) -> None:
        hard = find(WHOLE, "ResourceQuota", "bulkhead", "agents")["spec"]["hard"]
        counted = {k: v for k, v in hard.items() if k.startswith("requests.") or k == "pods"}
        assert counted == {
            "pods": "200",  # every pod is a sandbox
            "requests.cpu": "32",  # the group's, not the tenant's 48
            "requests.memory": "100Gi",  # of RuntimeClass bulkhead, not 192Gi
            "requests.nvidia.com/gpu": "4",  # of 4.5: Kubernetes counts whole ones
        }
        assert (hard["services.nodeports"], hard["services.loadbalancers"]) == ("0", "0")
        assert hard["secrets"] == "1000"

    def test_a_trusted_tenant_is_bounded_by_its_file_alone(self) -> None:
        hard = find(WHOLE, "ResourceQuota", "bulkhead", "platform")["spec"]["hard"]
        assert hard == {"requests.memory": "64Gi"}

    def test_a_tenant_without_a_bound_has_no_quota_object_but_still_requests(self) -> None:
        assert not list(pick(WHOLE, "ResourceQuota", "cautious"))
        limits = find(WHOLE, "LimitRange", "bulkhead", "cautious")["spec"]["limits"]
        assert limits == [{"type": "Container", "defaultRequest": {"cpu": "100m", "memory": "128Mi"}}]

    @pytest.mark.parametrize(
        ("quota", "want"),
        [
            ({Dimension("a", "cpu"): Allowance(max=500), Dimension("b", "cpu"): Allowance(max=1500)},
             {"requests.cpu": "2"}),
            ({Dimension("a", "cpu"): Allowance(max=500), Dimension("b", "cpu"): Allowance(max=UNLIMITED)}, {}),
            ({Dimension("a", "cpu", "bulkhead"): Allowance(max=500)}, {}),  # a trusted tenant has other pods too
            ({Dimension("a", "disk-bandwidth"): Allowance(max=9), Dimension("a", "sandboxes"): Allowance(max=9)},
             {}),
            ({Dimension("a", "pods"): Allowance(max=0)}, {"pods": "0"}),
            ({Dimension("a", "nvidia.com/gpu"): Allowance(max=500)}, {"requests.nvidia.com/gpu": "0"}),
            ({Dimension("a", "vendor.example/fpga"): Allowance(max=3)}, {"requests.vendor.example/fpga": "3"}),
            ({Dimension("a", "ephemeral-storage"): Allowance(max=2048)},
             {"requests.ephemeral-storage": "2Gi"}),
        ],
    )  # fmt: skip
    def test_pools_add_up_and_what_kubernetes_cannot_say_is_left_to_the_ledger(
        self, quota: Quota, want: dict[str, str]
    ) -> None:
        tenant = Tenant(name="t", trust=Trust.TRUSTED, quota=quota)
        tenants = TenantSet(tenants={"t": tenant}, runtime_classes={"runc": RUNC, "bulkhead": SANDBOX})
        assert hard_limits(tenants, tenant) == want

    def test_with_two_sandbox_classes_the_bound_of_one_is_no_bound_on_all(self) -> None:
        second = structs.replace(SANDBOX, name="bulkhead-large")
        tenants = structs.replace(TENANTS, runtime_classes={**TENANTS.runtime_classes, second.name: second})
        assert hard_limits(tenants, AGENTS)["requests.memory"] == "192Gi"

    def test_a_ring_of_groups_is_walked_once(self) -> None:
        ring = {"x": Group(name="x", parent="y"), "y": Group(name="y", parent="x")}
        tenant = Tenant(name="t", parent="x", trust=Trust.TRUSTED)
        assert hard_limits(TenantSet(tenants={"t": tenant}, groups=ring), tenant) == {}


class TestAccess:
    @pytest.mark.parametrize(
        ("resource", "verb"),
        [("pods/binding", "create"), ("bindings", "create"), ("pods/status", "patch"),
         ("networkpolicies", "create"), ("networkpolicies", "delete"), ("resourcequotas", "update"),
         ("limitranges", "delete"), ("serviceaccounts/token", "create"), ("pods/proxy", "get"),
         ("services/proxy", "create"), ("namespaces", "update"), ("runtimeclasses", "create"), ("nodes", "get"),
         ("roles", "escalate"), ("roles", "bind"), ("serviceaccounts", "impersonate")],
    )  # fmt: skip
    def test_an_administrator_does_not_move_the_walls(self, resource: str, verb: str) -> None:
        for rule in find(WHOLE, "Role", "bulkhead-admin", "agents")["rules"]:
            assert not (resource in rule["resources"] and verb in rule["verbs"])
            assert "*" not in rule["resources"] + rule["verbs"] + rule["apiGroups"]

    @pytest.mark.parametrize(
        ("resource", "verb"),
        [("pods", "create"), ("pods/exec", "create"), ("pods/ephemeralcontainers", "patch"),
         ("deployments", "create"), ("jobs", "delete"), ("resourcequotas", "get"), ("networkpolicies", "list")],
    )  # fmt: skip
    def test_an_administrator_runs_things(self, resource: str, verb: str) -> None:
        rules = find(WHOLE, "Role", "bulkhead-admin", "agents")["rules"]
        assert any(resource in rule["resources"] and verb in rule["verbs"] for rule in rules)

    def test_subjects_are_written_as_rbac_wants_them(self) -> None:
        group = "rbac.authorization.k8s.io"
        assert find(WHOLE, "RoleBinding", "bulkhead-admin", "agents")["subjects"] == [
            {"kind": "User", "name": "ada", "apiGroup": group},
            {"kind": "Group", "name": "agents-team", "apiGroup": group},
        ]
        assert find(WHOLE, "RoleBinding", "bulkhead-admin", "cautious")["subjects"] == [
            {"kind": "ServiceAccount", "name": "deployer", "namespace": "cautious"}
        ]

    def test_a_tenant_without_administrators_gets_no_role(self) -> None:
        quiet = structs.replace(PLATFORM, admins=())
        assert not list(pick(render(TenantSet(tenants={"platform": quiet})), "Role"))

    def test_a_service_account_elsewhere_keeps_its_namespace(self) -> None:
        admins = (Admin(kind="ServiceAccount", name="ci", namespace="build"),)
        rendered = render(TenantSet(tenants={"cautious": structs.replace(CAUTIOUS, admins=admins)}))
        [binding] = pick(rendered, "RoleBinding")
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "ci", "namespace": "build"}]
