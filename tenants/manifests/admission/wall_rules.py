"""What nobody may do to the walls around a tenant: rules on everything that is no pod. Pure, constant.

One law stands for every object that holds a wall up: it is changed only by those who may change its kind in
*every* namespace. That is true of the platform, of kube-scheduler and of the controllers, and never of a
tenant, however much its own RoleBindings give it.
"""

from __future__ import annotations

from typing import Final

from tenants.manifests.admission.cel import Rule, Variables, allowed_everywhere, fact, owner_of, variable

_VERB: Final = "{'CREATE': 'create', 'UPDATE': 'update', 'DELETE': 'delete'}[request.operation]"
_MAY_WRITE: Final = allowed_everywhere("request.resource.group", "request.resource.resource", _VERB)
_MAY_BIND: Final = allowed_everywhere("''", "'pods'", "'create'", "'binding'")
_MAY_OPEN: Final = allowed_everywhere("'networking.k8s.io'", "'networkpolicies'", "'create'")
_MAY_LABEL: Final = allowed_everywhere("''", "'namespaces'", "'update'")

ACCESS_RULES: Final = (
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

NAMESPACE_VARIABLES: Final[Variables] = [
    *owner_of("object.metadata.name", "tenant"),
    variable("labels", "has(object.metadata.labels) ? object.metadata.labels : {}"),
    variable(
        "oldLabels",
        "oldObject != null && has(oldObject.metadata.labels) ? oldObject.metadata.labels : {}",
    ),
]
NAMESPACE_RULES: Final = (
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
        f" == (variables.tenant == '' ? '' : {fact('trust')})",
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

WALL_RULES: Final = (
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

_CLAIM: Final = "request.resource.resource == 'persistentvolumeclaims'"
_VOLUME_NAMED: Final = (
    "has(object.spec.volumeName) && object.spec.volumeName != ''"
    " && !(oldObject != null && has(oldObject.spec.volumeName)"
    " && oldObject.spec.volumeName == object.spec.volumeName)"
)
OBJECT_RULES: Final = (
    Rule(
        "volume-claim",
        # A claim may still be pointed at a volume once while it is unbound, which is how the controller binds it.
        f"!({_CLAIM}) || ((request.operation != 'CREATE'"
        " || (has(object.spec.storageClassName) && object.spec.storageClassName != ''))"
        f" && (!({_VOLUME_NAMED}) || {_MAY_WRITE}))",
        "'a claim names a storageClassName and no volume: volumes that exist may hold what is others\\''",
    ),
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

FACTS_RULE: Final = Rule(
    "facts-in-use",
    "false",
    "'every policy of Bulkhead reads the TenantTable and refuses without it; delete the policies first'",
)
