"""The MutatingAdmissionPolicies: what a tenant need not write. Pure; called by `render`.

They only fill in; `policies` verifies afterwards. A cluster that has no MutatingAdmissionPolicy (Kubernetes
before 1.36) is as safe and less comfortable: what would have been filled in is
refused when missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tenants.manifests.admission.cel import REQUEST_TENANT, Variables, fact, owner_of
from tenants.manifests.admission.policies import API, constraints, param_kind, param_ref
from tenants.manifests.objects import Manifest, make

_RUNTIME: Final = f"""
    variables.tenant == '' || has(object.spec.runtimeClassName) || {fact("runtimeClass")} == '' ? Object{{}}
    : Object{{spec: Object.spec{{runtimeClassName: {fact("runtimeClass")}}}}}
"""
_SCHEDULER: Final = """
    variables.tenant == ''
    || (has(object.spec.schedulerName) && object.spec.schedulerName != 'default-scheduler') ? Object{}
    : Object{spec: Object.spec{schedulerName: params.spec.scheduler}}
"""
_GATE: Final = """
    variables.tenant == '' || params.spec.gate == '' || has(object.spec.nodeName)
    || !has(object.spec.schedulerName) || object.spec.schedulerName != params.spec.scheduler ? Object{}
    : Object{spec: Object.spec{schedulingGates: [Object.spec.schedulingGates{name: params.spec.gate}]}}
"""
_LABELS: Final = f"""
    variables.tenant == '' ? Object{{}} : Object{{metadata: Object.metadata{{labels: {{
    'bulkhead.dev/tenant': variables.tenant, 'bulkhead.dev/trust': {fact("trust")}}}}}}}
"""
_LEVEL: Final = f"""
    variables.tenant == '' || request.operation != 'CREATE' ? Object{{}} : Object{{metadata: Object.metadata{{
    labels: {{'pod-security.kubernetes.io/enforce': {fact("podSecurity")},
    'pod-security.kubernetes.io/warn': {fact("podSecurity")}}}}}}}
"""
_UNMOUNTED: Final = """
    !variables.untrusted || has(object.automountServiceAccountToken) ? Object{}
    : Object{automountServiceAccountToken: false}
"""
_NAMED: Final[Variables] = owner_of("has(object.metadata.name) ? object.metadata.name : ''", "tenant")


def mutations() -> Iterator[Manifest]:
    """Pods get class, scheduler and gate, namespaces their labels, service accounts of strangers no token."""
    yield from _policy("bulkhead-pods", "pods", ["CREATE"], REQUEST_TENANT, [_RUNTIME, _SCHEDULER, _GATE])
    yield from _policy("bulkhead-namespaces", "namespaces", ["CREATE", "UPDATE"], _NAMED, [_LABELS, _LEVEL])
    yield from _policy(
        "bulkhead-serviceaccounts", "serviceaccounts", ["CREATE"], REQUEST_TENANT, [_UNMOUNTED]
    )


def _policy(
    name: str, resource: str, operations: list[str], variables: Variables, expressions: list[str]
) -> Iterator[Manifest]:
    match: Manifest = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": operations,
        "resources": [resource],
        "scope": "*",
    }
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "IfNeeded",  # a webhook that adds pods' fields later must not undo ours
        "paramKind": param_kind(),
        "matchConstraints": constraints([match]),
        "variables": [dict(v) for v in variables],
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": " ".join(expression.split())},
            }
            for expression in expressions
        ],
    }
    yield make(API, "MutatingAdmissionPolicy", name, spec=spec)
    yield make(
        API, "MutatingAdmissionPolicyBinding", name, spec={"policyName": name, "paramRef": param_ref()}
    )
