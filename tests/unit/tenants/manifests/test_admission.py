"""The admission half without a server: facts are data, texts are constant, everything fails closed."""

from __future__ import annotations

import json
import re

import pytest

from tenants.manifests import render
from tenants.manifests.admission.policies import rule_names
from tenants.model import Allowance, Dimension, Tenant, TenantSet
from tests.support.escapes import ESCAPES
from tests.support.manifests import TENANTS, Manifest, find, pick

WHOLE = render(TENANTS)
POLICIES = [m for m in WHOLE if m["kind"].endswith("AdmissionPolicy")]
BINDINGS = [m for m in WHOLE if m["kind"].endswith("AdmissionPolicyBinding")]
HOSTILE = "x' || true || '"


def name_of(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def test_nothing_that_a_tenant_file_says_is_part_of_an_expression() -> None:
    """The loader would refuse such names; the texts must not lean on that."""
    hostile = Tenant(name=HOSTILE, namespaces=(HOSTILE,), namespace_prefixes=(HOSTILE,))
    for tenants in (TenantSet(), TenantSet(tenants={HOSTILE: hostile})):
        rendered = render(tenants, scheduler=HOSTILE)
        assert [m for m in rendered if m["kind"].endswith("AdmissionPolicy")] == POLICIES
        assert [m for m in rendered if m["kind"].endswith("AdmissionPolicyBinding")] == BINDINGS


def test_the_table_of_facts() -> None:
    assert find(WHOLE, "TenantTable", "tenants")["spec"] == {
        "scheduler": "bulkhead-scheduler",
        "gate": "",
        "namespaces": {"agents": "agents", "cautious": "cautious", "platform": "platform"},
        "prefixes": {"agents-": "agents", "agents-vip-": "cautious", "platform-": "platform"},
        "tenants": {
            "agents": {
                "trust": "untrusted",
                "sandboxRequired": True,
                "runtimeClass": "bulkhead",
                "runtimeClasses": ["bulkhead"],
                "tolerations": ["bulkhead.dev/sandbox", "nvidia.com/gpu"],
                "devices": ["nvidia.com/gpu"],
                "priorityCeiling": 0,
                "priorityClass": "bulkhead-agents",
                "podSecurity": "restricted",
            },
            "cautious": {
                "trust": "trusted",
                "sandboxRequired": True,
                "runtimeClass": "bulkhead",
                "runtimeClasses": ["bulkhead"],
                "tolerations": ["bulkhead.dev/sandbox"],
                "devices": [],
                "priorityCeiling": 0,
                "priorityClass": "bulkhead-cautious",
                "podSecurity": "baseline",
            },
            "platform": {
                "trust": "trusted",
                "sandboxRequired": False,
                "runtimeClass": "",
                "runtimeClasses": ["bulkhead", "runc"],
                "tolerations": ["bulkhead.dev/sandbox"],
                "devices": [],
                "priorityCeiling": 1_000_000,
                "priorityClass": "bulkhead-platform",
                "podSecurity": "baseline",
            },
        },
    }


def test_a_device_of_which_the_tenant_may_have_none_is_no_device_of_its() -> None:
    none = {Dimension("default", "nvidia.com/gpu"): Allowance(max=0)}
    rendered = render(TenantSet(tenants={"t": Tenant(name="t", quota=none)}))
    assert find(rendered, "TenantTable", "tenants")["spec"]["tenants"]["t"]["devices"] == []


def test_without_a_sandbox_class_an_untrusted_tenant_may_name_none_at_all() -> None:
    runc = {"runc": TENANTS.runtime_classes["runc"]}
    rendered = render(TenantSet(tenants={"t": Tenant(name="t")}, runtime_classes=runc))
    facts = find(rendered, "TenantTable", "tenants")["spec"]["tenants"]["t"]
    assert (facts["runtimeClass"], facts["runtimeClasses"]) == ("", [])


def test_the_schema_of_the_table_requires_every_field_that_it_is_given() -> None:
    definition = find(WHOLE, "CustomResourceDefinition", "tenanttables.bulkhead.dev")
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec = find(WHOLE, "TenantTable", "tenants")["spec"]
    assert set(schema["required"]) == set(schema["properties"]) == set(spec)
    of_tenant = schema["properties"]["tenants"]["additionalProperties"]
    for facts in spec["tenants"].values():
        assert set(of_tenant["required"]) == set(of_tenant["properties"]) == set(facts)


@pytest.mark.parametrize("policy", POLICIES, ids=name_of)
def test_every_policy_fails_closed_and_is_bound_under_its_name(policy: Manifest) -> None:
    assert policy["spec"]["failurePolicy"] == "Fail"
    [binding] = [b for b in BINDINGS if name_of(b) == name_of(policy).replace("Policy/", "PolicyBinding/")]
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
    assert ("paramRef" in binding["spec"]) == ("paramKind" in policy["spec"])
    if "paramRef" in binding["spec"]:
        assert binding["spec"]["paramRef"]["parameterNotFoundAction"] == "Deny"
    if policy["kind"].startswith("Validating"):
        assert binding["spec"]["validationActions"] == ["Deny"]


@pytest.mark.parametrize("policy", list(pick(WHOLE, "ValidatingAdmissionPolicy")), ids=name_of)
def test_every_denial_begins_with_the_name_of_its_rule(policy: Manifest) -> None:
    for validation in policy["spec"]["validations"]:
        assert re.fullmatch(r"bulkhead: [a-z-]+", validation["message"])
        assert validation["messageExpression"].startswith(f"'{validation['message']}: '")
        assert validation["reason"] == "Forbidden"


def test_rules_are_told_apart_by_name() -> None:
    assert len(set(rule_names())) == len(rule_names())
    assert {escape.rule for escape in ESCAPES} <= set(rule_names())


@pytest.mark.parametrize(
    ("policy", "resource", "operation"),
    [("bulkhead-pods", "pods", "CREATE"), ("bulkhead-pods", "pods", "UPDATE"),
     ("bulkhead-pods", "pods/ephemeralcontainers", "UPDATE"), ("bulkhead-pods", "pods/resize", "UPDATE"),
     ("bulkhead-pod-access", "pods/binding", "CREATE"), ("bulkhead-pod-access", "bindings", "CREATE"),
     ("bulkhead-pod-access", "pods/exec", "CONNECT"), ("bulkhead-pod-access", "pods/attach", "CONNECT"),
     ("bulkhead-namespaces", "namespaces", "CREATE"), ("bulkhead-namespaces", "namespaces", "UPDATE"),
     ("bulkhead-walls", "networkpolicies", "DELETE"), ("bulkhead-walls", "rolebindings", "UPDATE")],
)  # fmt: skip
def test_every_way_in_is_watched(policy: str, resource: str, operation: str) -> None:
    rules = find(WHOLE, "ValidatingAdmissionPolicy", policy)["spec"]["matchConstraints"]["resourceRules"]
    assert any(resource in rule["resources"] and operation in rule["operations"] for rule in rules)


def test_the_cluster_itself_is_left_out_so_that_it_can_always_be_mended() -> None:
    for policy in POLICIES:
        if "paramKind" in policy["spec"]:
            [expression] = policy["spec"]["matchConstraints"]["namespaceSelector"]["matchExpressions"]
            assert expression["operator"] == "NotIn"
            assert "kube-system" in expression["values"]


def test_two_thousand_tenants_fit_into_the_table() -> None:
    names = [f"tenant-{number:056}" for number in range(2000)]
    tenants = {name: Tenant(name=name, namespaces=(name,)) for name in names}
    table = find(render(TenantSet(tenants=tenants)), "TenantTable", "tenants")
    assert len(json.dumps(table)) * 2 < 2 * 2**20  # managedFields name every key once more


def test_the_gate_is_in_the_table_only_where_somebody_opens_it() -> None:
    (table,) = [m for m in render(TenantSet(), guided=True) if m["kind"] == "TenantTable"]
    assert table["spec"]["gate"] == "bulkhead.dev/quota"
