"""The ValidatingAdmissionPolicies and their bindings: what is refused whoever asks, and however. Pure.

All fail closed: an expression that errs, or facts that are missing, deny. One law stands for every object
that holds a wall up: it is changed only by those who may change its kind in *every* namespace. That is true
of the platform, of kube-scheduler and of the controllers, and never of a tenant, however much its own
RoleBindings give it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from tenants.manifests.admission.facts import FACTS_NAME
from tenants.manifests.admission.rules import POD_VARIABLES, TENANT_RUNTIME, UNTRUSTED_POD_RULES, Rule
from tenants.manifests.admission.tenancy import (
    REQUEST_TENANT,
    Variables,
    allowed_everywhere,
    fact,
    owner_of,
    variable,
)
from tenants.manifests.objects import FACTS_NAMESPACE, NAMESPACE_NAME, Manifest, make

API: Final = "admissionregistration.k8s.io/v1"
_CLUSTER_NAMESPACES: Final = ["default", "kube-node-lease", "kube-public", "kube-system"]
_WRITES: Final = ["CREATE", "UPDATE", "DELETE"]
_VERB: Final = "{'CREATE': 'create', 'UPDATE': 'update', 'DELETE': 'delete'}[request.operation]"
_MAY_WRITE: Final = allowed_everywhere("request.resource.group", "request.resource.resource", _VERB)
_MAY_BIND: Final = allowed_everywhere("''", "'pods'", "'create'", "'binding'")
_MAY_OPEN: Final = allowed_everywhere("'networking.k8s.io'", "'networkpolicies'", "'create'")
_MAY_LABEL: Final = allowed_everywhere("''", "'namespaces'", "'update'")

# A pod from before the policies can still be labelled, finished and deleted; it cannot be changed.
_POD_CHANGED: Final = {
    "name": "spec-or-annotations-change",
    "expression": "request.operation != 'UPDATE' || (has(request.subResource) && request.subResource != '')"
    " || object.spec != oldObject.spec"
    " || (has(object.metadata.annotations) ? object.metadata.annotations : {})"
    " != (has(oldObject.metadata.annotations) ? oldObject.metadata.annotations : {})",
}

_ACCESS_RULES: Final = (
    Rule(
        "binding",
        "!(request.resource.resource == 'bindings' || request.subResource == 'binding')"
        f" || variables.tenant == '' || {_MAY_BIND}",
        "'pods are bound by the scheduler, which reserves quota and looks at the neighbours'",
    ),
    Rule(
        "foreign-exec",
        "request.operation != 'CONNECT' || !variables.untrusted || variables.callerTenant == ''"
        " || variables.callerTenant == variables.tenant",
        "'a service account of tenant ' + variables.callerTenant + ' has no business in a pod of tenant '"
        " + variables.tenant",
    ),
)

_NAMESPACE_VARIABLES: Final[Variables] = [
    *owner_of("object.metadata.name", "tenant"),
    variable("labels", "has(object.metadata.labels) ? object.metadata.labels : {}"),
    variable(
        "oldLabels",
        "oldObject != null && has(oldObject.metadata.labels) ? oldObject.metadata.labels : {}",
    ),
]
_NAMESPACE_RULES: Final = (
    Rule(
        "tenant-label",
        "('bulkhead.dev/tenant' in variables.labels ? variables.labels['bulkhead.dev/tenant'] : '')"
        " == variables.tenant",
        "'namespace ' + object.metadata.name + ' belongs to '"
        " + (variables.tenant == '' ? 'no tenant' : 'tenant ' + variables.tenant)"
        " + ', and its label bulkhead.dev/tenant must say so'",
    ),
    Rule(
        "trust-label",
        "('bulkhead.dev/trust' in variables.labels ? variables.labels['bulkhead.dev/trust'] : '')"
        f" == {fact('trust')}",
        "'label bulkhead.dev/trust must be that of the tenant file'",
    ),
    Rule(
        "ready-label",
        "variables.labels.exists(k, k == 'bulkhead.dev/ready')"
        " == variables.oldLabels.exists(k, k == 'bulkhead.dev/ready')"
        f" || {_MAY_OPEN}",
        "'bulkhead.dev/ready is set by those who write the NetworkPolicy that it stands for'",
    ),
    Rule(
        "pod-security-label",
        "oldObject == null || variables.tenant == ''"
        " || variables.labels.filter(k, k.startsWith('pod-security.kubernetes.io/'))"
        ".all(k, k in variables.oldLabels && variables.labels[k] == variables.oldLabels[k])"
        " && variables.oldLabels.filter(k, k.startsWith('pod-security.kubernetes.io/'))"
        f".all(k, k in variables.labels) || {_MAY_LABEL}",
        "'the Pod Security level of a tenant is the platform\\'s'",
    ),
)

_WALL_RULES: Final = (
    Rule(
        "platform-object",
        "!((oldObject != null ? [oldObject] : []) + (object != null ? [object] : []))"
        ".exists(o, has(o.metadata.labels) && 'app.kubernetes.io/managed-by' in o.metadata.labels"
        " && o.metadata.labels['app.kubernetes.io/managed-by'] == 'bulkhead')"
        f" || {_MAY_WRITE}",
        "request.resource.resource + ' of Bulkhead are changed by the platform alone'",
    ),
    Rule(
        "network-policy",
        "request.resource.resource != 'networkpolicies' || request.operation == 'DELETE'"
        " || variables.tenant == ''"
        f" || {_MAY_WRITE}",
        "'NetworkPolicies only add flows, so those of tenant ' + variables.tenant"
        " + ' come from its tenant file'",
    ),
)

_OBJECT_RULES: Final = (
    Rule(
        "token-secret",
        "request.resource.resource != 'secrets' || !has(object.type)"
        " || object.type != 'kubernetes.io/service-account-token'",
        "'a token secret never expires; mount a projected token'",
    ),
    Rule(
        "external-ip",
        "request.resource.resource != 'services' || !has(object.spec.externalIPs)"
        " || object.spec.externalIPs.size() == 0",
        "'externalIPs draw traffic that is meant for others'",
    ),
)


def _only_untrusted(rules: Iterable[Rule]) -> list[Rule]:
    return [Rule(r.name, f"!variables.untrusted || ({r.holds})", r.why) for r in rules]


def policies() -> Iterator[Manifest]:
    """Five policies, each with a binding of the same name."""
    trusted_runtime = f"variables.untrusted || variables.tenant == '' || ({TENANT_RUNTIME.holds})"
    yield from _policy(
        "bulkhead-pods",
        [
            _match("", ["pods"], ["CREATE", "UPDATE"]),
            _match("", ["pods/ephemeralcontainers", "pods/resize"], ["UPDATE"]),
        ],
        [*REQUEST_TENANT, *POD_VARIABLES],
        [*_only_untrusted(UNTRUSTED_POD_RULES), TENANT_RUNTIME._replace(holds=trusted_runtime)],
        conditions=[_POD_CHANGED],
    )
    yield from _policy(
        "bulkhead-pod-access",
        [
            _match("", ["bindings", "pods/binding"], ["CREATE"]),
            _match("", ["pods/attach", "pods/exec", "pods/portforward"], ["CONNECT"]),
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
        _ACCESS_RULES,
    )
    yield from _policy(
        "bulkhead-namespaces",
        [_match("", ["namespaces"], ["CREATE", "UPDATE"])],
        _NAMESPACE_VARIABLES,
        _NAMESPACE_RULES,
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
        _WALL_RULES,
    )
    yield from _policy(
        "bulkhead-objects",
        [_match("", ["secrets", "services"], ["CREATE", "UPDATE"])],
        REQUEST_TENANT,
        _only_untrusted(_OBJECT_RULES),
    )


def rule_names() -> list[str]:
    """Every name that a denial can begin with, for docs and tests."""
    groups = (
        UNTRUSTED_POD_RULES,
        (TENANT_RUNTIME,),
        _ACCESS_RULES,
        _NAMESPACE_RULES,
        _WALL_RULES,
        _OBJECT_RULES,
    )
    return [rule.name for group in groups for rule in group]


def param_ref() -> dict[str, str]:
    """The facts; without them nothing that the policies match is admitted."""
    return {"name": FACTS_NAME, "namespace": FACTS_NAMESPACE, "parameterNotFoundAction": "Deny"}


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
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": constraints(matches),
        "variables": [dict(v) for v in variables],
        "validations": [_validation(rule) for rule in rules],
    }
    if conditions:
        spec["matchConditions"] = [dict(c) for c in conditions]
    yield make(API, "ValidatingAdmissionPolicy", name, spec=spec)
    binding = {"policyName": name, "paramRef": param_ref(), "validationActions": ["Deny"]}
    yield make(API, "ValidatingAdmissionPolicyBinding", name, spec=binding)


def _validation(rule: Rule) -> dict[str, str]:
    return {
        "expression": " ".join(rule.holds.split()),
        "message": f"bulkhead: {rule.name}",
        "messageExpression": f"'bulkhead: {rule.name}: ' + " + " ".join(rule.why.split()),
        "reason": "Forbidden",
    }
