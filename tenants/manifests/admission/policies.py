"""The ValidatingAdmissionPolicies and their bindings: what is refused whoever asks, and however. Pure.

All fail closed: an expression that errs, or facts that are missing, deny. The rules themselves are tables:
`pod_rules` for what runs, `wall_rules` for what holds it in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from tenants.manifests.admission.cel import REQUEST_TENANT, Rule, Variables, owner_of, variable
from tenants.manifests.admission.facts import FACTS_GROUP, FACTS_KIND, FACTS_NAME, FACTS_PLURAL, FACTS_VERSION
from tenants.manifests.admission.pod_rules import POD_VARIABLES, TENANT_POD_RULES, UNTRUSTED_POD_RULES
from tenants.manifests.admission.wall_rules import (
    ACCESS_RULES,
    FACTS_RULE,
    NAMESPACE_RULES,
    NAMESPACE_VARIABLES,
    OBJECT_RULES,
    WALL_RULES,
)
from tenants.manifests.objects import NAMESPACE_NAME, Manifest, make

API: Final = "admissionregistration.k8s.io/v1"
_CLUSTER_NAMESPACES: Final = ["default", "kube-node-lease", "kube-public", "kube-system"]
_WRITES: Final = ["CREATE", "UPDATE", "DELETE"]
# A pod from before the policies can still be labelled, finished and deleted; it cannot be changed.
_POD_CHANGED: Final = {
    "name": "spec-or-annotations-change",
    "expression": "request.operation != 'UPDATE' || (has(request.subResource) && request.subResource != '')"
    " || object.spec != oldObject.spec"
    " || (has(object.metadata.annotations) ? object.metadata.annotations : {})"
    " != (has(oldObject.metadata.annotations) ? oldObject.metadata.annotations : {})",
}


def _only_untrusted(rules: Iterable[Rule]) -> list[Rule]:
    return [Rule(r.name, f"!variables.untrusted || ({r.holds})", r.why) for r in rules]


def _of_tenants(rules: Iterable[Rule]) -> list[Rule]:
    return [Rule(r.name, f"variables.tenant == '' || ({r.holds})", r.why) for r in rules]


def policies() -> Iterator[Manifest]:
    """Six policies, each with a binding of the same name."""
    yield from _policy(
        "bulkhead-pods",
        [
            _match("", ["pods"], ["CREATE", "UPDATE"]),
            _match("", ["pods/ephemeralcontainers", "pods/resize"], ["UPDATE"]),
        ],
        [*REQUEST_TENANT, *POD_VARIABLES],
        [*_only_untrusted(UNTRUSTED_POD_RULES), *_of_tenants(TENANT_POD_RULES)],
        conditions=[_POD_CHANGED],
    )
    yield from _policy(
        "bulkhead-pod-access",
        [
            _match("", ["bindings", "pods/binding"], ["CREATE"]),
            _match("", ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy"], ["CONNECT"]),
        ],
        [
            *REQUEST_TENANT,
            variable(
                "caller",
                """request.userInfo.username.startsWith('system:serviceaccount:')
                ? request.userInfo.username.split(':')[2] : ''""",
            ),
            *owner_of("variables.caller", "callerTenant"),
        ],
        ACCESS_RULES,
    )
    yield from _policy(
        "bulkhead-namespaces",
        [_match("", ["namespaces"], ["CREATE", "UPDATE"])],
        NAMESPACE_VARIABLES,
        NAMESPACE_RULES,
    )
    yield from _policy(
        "bulkhead-walls",
        [
            _match("", ["limitranges", "resourcequotas"], _WRITES),
            _match("networking.k8s.io", ["networkpolicies"], _WRITES),
            _match("node.k8s.io", ["runtimeclasses"], _WRITES),
            _match("rbac.authorization.k8s.io", ["rolebindings", "roles"], _WRITES),
            _match("scheduling.k8s.io", ["priorityclasses"], _WRITES),
        ],
        REQUEST_TENANT,
        WALL_RULES,
    )
    yield from _policy(
        "bulkhead-objects",
        [_match("", ["persistentvolumeclaims", "secrets", "services"], ["CREATE", "UPDATE"])],
        REQUEST_TENANT,
        _only_untrusted(OBJECT_RULES),
    )
    yield from _guard_of_facts()


def _guard_of_facts() -> Iterator[Manifest]:
    """Without the facts no pod starts outside the cluster's own namespaces, so they go last of all."""
    definition = f"{FACTS_PLURAL}.{FACTS_GROUP}"
    table = _match(FACTS_GROUP, [FACTS_PLURAL], ["DELETE"])
    its_kind = _match("apiextensions.k8s.io", ["customresourcedefinitions"], ["DELETE"])
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "matchPolicy": "Equivalent",
            "namespaceSelector": {},
            "objectSelector": {},
            "resourceRules": [table, {**its_kind, "resourceNames": [definition]}],
        },
        "validations": [_validation(FACTS_RULE)],
    }
    yield from _bound("bulkhead-facts", spec, {})


def rule_names() -> list[str]:
    """Every name that a denial can begin with, for docs and tests."""
    groups = (
        UNTRUSTED_POD_RULES,
        TENANT_POD_RULES,
        ACCESS_RULES,
        NAMESPACE_RULES,
        WALL_RULES,
        OBJECT_RULES,
        (FACTS_RULE,),
    )
    return [rule.name for group in groups for rule in group]


def param_kind() -> dict[str, str]:
    """What the facts are."""
    return {"apiVersion": f"{FACTS_GROUP}/{FACTS_VERSION}", "kind": FACTS_KIND}


def param_ref() -> dict[str, str]:
    """Which facts; without them nothing that the policies match is admitted."""
    return {"name": FACTS_NAME, "parameterNotFoundAction": "Deny"}


def constraints(rules: list[Manifest]) -> dict[str, Any]:
    """What a policy looks at. The cluster's own namespaces stay workable whatever happens to the facts."""
    elsewhere = {"key": NAMESPACE_NAME, "operator": "NotIn", "values": list(_CLUSTER_NAMESPACES)}
    return {
        "matchPolicy": "Equivalent",
        "namespaceSelector": {"matchExpressions": [elsewhere]},
        "objectSelector": {},
        "resourceRules": rules,
    }


def _match(group: str, resources: list[str], operations: list[str]) -> Manifest:
    return {
        "apiGroups": [group],
        "apiVersions": ["*"],
        "operations": list(operations),
        "resources": resources,
        "scope": "*",
    }


def _policy(
    name: str,
    matches: list[Manifest],
    variables: Variables,
    rules: Iterable[Rule],
    conditions: list[dict[str, str]] | None = None,
) -> Iterator[Manifest]:
    spec = {
        "failurePolicy": "Fail",
        "paramKind": param_kind(),
        "matchConstraints": constraints(matches),
        "variables": [dict(v) for v in variables],
        "validations": [_validation(rule) for rule in rules],
    }
    if conditions:
        spec["matchConditions"] = [dict(c) for c in conditions]
    yield from _bound(name, spec, {"paramRef": param_ref()})


def _bound(name: str, spec: Manifest, params: Manifest) -> Iterator[Manifest]:
    yield make(API, "ValidatingAdmissionPolicy", name, spec=spec)
    binding = {"policyName": name, **params, "validationActions": ["Deny"]}
    yield make(API, "ValidatingAdmissionPolicyBinding", name, spec=binding)


def _validation(rule: Rule) -> dict[str, str]:
    return {
        "expression": " ".join(rule.holds.split()),
        "message": f"bulkhead: {rule.name}",
        "messageExpression": f"'bulkhead: {rule.name}: ' + " + " ".join(rule.why.split()),
        "reason": "Forbidden",
    }
