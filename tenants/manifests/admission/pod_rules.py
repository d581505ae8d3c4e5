"""What an untrusted tenant's pod may not be: one CEL rule for each way out of the sandbox. Pure, constant.

`policies` makes a ValidatingAdmissionPolicy of these. Order matters: the API server reports the first rule
that a pod breaks. All read `object`, a Pod, on create, on update, on pods/ephemeralcontainers and on
pods/resize alike; each says why in words that a tenant can act on. Nothing is judged by a controller's
template, since a template is not what runs.
"""

from __future__ import annotations

from typing import Final

from tenants.manifests.admission.cel import Rule, fact, variable

_SAFE_SYSCTLS: Final = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
)
# Volumes that the sandbox makes inside the guest or gets from the storage class; all others reach the host.
_VOLUMES: Final = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
)
# Annotations by which a runtime, a device plug-in or a CNI takes orders that no field of the pod shows.
_ANNOTATION_PREFIXES: Final = (
    "cni.projectcalico.org/",
    "io.containerd.",
    "io.katacontainers.",
    "io.kubernetes.cri-o.",
    "io.kubernetes.cri.",
    "k8s.v1.cni.cncf.io/",
    "run.oci.",
    "v1.multus-cni.io/",
)
_ANNOTATION_PARTS: Final = ("cdi.k8s.io/", ".crio.io", "nri.io/", "blockio.resources.", "rdt.resources.")
_DAY_SECONDS: Final = 86_400


def _literals(words: tuple[str, ...]) -> str:
    return "[" + ", ".join(f"'{word}'" for word in words) + "]"


def _unset(path: str) -> str:
    """CEL that is true where a chain of optional fields ends early or in an empty text, or false."""
    parts = path.split(".")
    chain = [f"has({'.'.join(parts[: depth + 1])})" for depth in range(1, len(parts))]
    return f"!({' && '.join(chain)} && !({path} in [dyn(''), dyn(false)]))"


def _probes_stay_home(container: str) -> str:
    calls = [f"{container}.{probe}" for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
    calls += [f"{container}.lifecycle.{hook}" for hook in ("postStart", "preStop")]
    return " && ".join(_unset(f"{call}.{kind}.host") for call in calls for kind in ("httpGet", "tcpSocket"))


POD_VARIABLES: Final = [
    variable(
        "containers",
        """dyn(object.spec.containers)
        + dyn(has(object.spec.initContainers) ? object.spec.initContainers : [])
        + dyn(has(object.spec.ephemeralContainers) ? object.spec.ephemeralContainers : [])""",
    ),
    variable("annotations", "has(object.metadata.annotations) ? object.metadata.annotations : {}"),
    variable("volumes", "has(object.spec.volumes) ? object.spec.volumes : []"),
    variable("tolerations", "has(object.spec.tolerations) ? object.spec.tolerations : []"),
    variable("classes", fact("runtimeClasses")),
    variable("asked", "has(object.spec.runtimeClassName) ? object.spec.runtimeClassName : ''"),
    variable("tolerable", fact("tolerations")),
    variable("devices", fact("devices")),
    variable("ceiling", fact("priorityCeiling")),
    variable("priorityClass", fact("priorityClass")),
    variable(
        "intolerable",
        """variables.tolerations.filter(t, !has(t.key)
        || !(t.key.startsWith('node.kubernetes.io/') || t.key in variables.tolerable))
        .map(t, has(t.key) && t.key != '' ? t.key : 'every taint')""",
    ),
    variable(
        "commands",
        f"""variables.annotations.map(k, k).filter(k,
        {_literals(_ANNOTATION_PREFIXES)}.exists(p, k.startsWith(p))
        || {_literals(_ANNOTATION_PARTS)}.exists(p, k.contains(p)))""",
    ),
]

_CONTEXT: Final = "!has(c.securityContext)"

UNTRUSTED_POD_RULES: Final = (
    Rule(
        "untrusted-runtime",
        "variables.asked in variables.classes",
        """'tenant ' + variables.tenant + ' is untrusted and its pods run in a sandbox, this one '
        + (variables.asked == '' ? 'names no runtimeClassName' : 'names ' + variables.asked)
        + '; allowed: ' + variables.classes.join(', ')""",
    ),
    Rule(
        "mirror-pod",
        "!variables.annotations.exists(k, k.startsWith('kubernetes.io/config.'))",
        "'a pod that claims to be a static pod of a node is not a tenant\\'s'",
    ),
    Rule(
        "runtime-annotation",
        "variables.commands.size() == 0",
        "'annotation ' + variables.commands.join(', ') + ' gives orders to the runtime or the network'",
    ),
    Rule(
        "host-process",
        f"""{_unset("object.spec.securityContext.windowsOptions.hostProcess")}
        && variables.containers.all(c, {_unset("c.securityContext.windowsOptions.hostProcess")})""",
        "'a hostProcess container runs on the node itself'",
    ),
    Rule(
        "host-namespace",
        " && ".join(_unset(f"object.spec.{field}") for field in ("hostNetwork", "hostPID", "hostIPC")),
        "'hostNetwork, hostPID and hostIPC are the node\\'s'",
    ),
    Rule(
        "host-port",
        "variables.containers.all(c, !has(c.ports) || c.ports.all(p, !has(p.hostPort) || p.hostPort == 0))",
        "'a hostPort opens a port of the node'",
    ),
    Rule(
        "host-path",
        "variables.volumes.all(v, !has(v.hostPath))",
        "'a hostPath volume is a directory of the node'",
    ),
    Rule(
        "volume-type",
        f"variables.volumes.all(v, {' || '.join(f'has(v.{kind})' for kind in _VOLUMES)})",
        f"'volumes may be {', '.join(_VOLUMES)}; others are mounted by the node'",
    ),
    Rule(
        "privileged",
        f"variables.containers.all(c, {_unset('c.securityContext.privileged')})",
        "'a privileged container gets the devices of the node'",
    ),
    Rule(
        "capabilities",
        f"""variables.containers.all(c, {_CONTEXT} || !has(c.securityContext.capabilities)
        || !has(c.securityContext.capabilities.add)
        || c.securityContext.capabilities.add.all(k, k == 'NET_BIND_SERVICE'))""",
        "'the only capability to add is NET_BIND_SERVICE'",
    ),
    Rule(
        "proc-mount",
        f"""variables.containers.all(c, {_CONTEXT} || !has(c.securityContext.procMount)
        || c.securityContext.procMount == 'Default')""",
        "'procMount must be Default'",
    ),
    Rule(
        "sysctl",
        f"""!has(object.spec.securityContext) || !has(object.spec.securityContext.sysctls)
        || object.spec.securityContext.sysctls.all(s, s.name in {_literals(_SAFE_SYSCTLS)})""",
        "'only the sysctls that Kubernetes calls safe may be set'",
    ),
    Rule(
        "device",
        """(!has(object.spec.resourceClaims) || object.spec.resourceClaims.size() == 0)
        && variables.containers.all(c, !has(c.resources)
        || ((!has(c.resources.limits) || c.resources.limits.all(k, !k.contains('/') || k in variables.devices))
        && (!has(c.resources.requests)
        || c.resources.requests.all(k, !k.contains('/') || k in variables.devices))))""",
        """'devices of this tenant: '
        + (variables.devices.size() == 0 ? 'none' : variables.devices.join(', '))
        + '; resourceClaims are closed'""",
    ),
    Rule(
        "probe-host",
        f"variables.containers.all(c, {_probes_stay_home('c')})",
        "'a probe or hook with a host makes the node open connections for the pod'",
    ),
    Rule(
        "node-name",
        f"request.operation != 'CREATE' || {_unset('object.spec.nodeName')}",
        "'nodeName goes past the scheduler; use nodeSelector or affinity'",
    ),
    Rule(
        "scheduler-name",
        "has(object.spec.schedulerName) && object.spec.schedulerName == params.spec.scheduler",
        "'schedulerName must be ' + params.spec.scheduler",
    ),
    Rule(
        "toleration",
        "variables.intolerable.size() == 0",
        "'may not tolerate ' + variables.intolerable.join(', ')",
    ),
    Rule(
        "token",
        f"""variables.volumes.all(v, !has(v.projected) || !has(v.projected.sources)
        || v.projected.sources.all(s, !has(s.serviceAccountToken)
        || !has(s.serviceAccountToken.expirationSeconds)
        || s.serviceAccountToken.expirationSeconds <= {_DAY_SECONDS}))""",
        "'a projected token lives for at most a day'",
    ),
    Rule(
        "namespace-not-ready",
        """request.operation != 'CREATE' || (has(namespaceObject.metadata.labels)
        && 'bulkhead.dev/ready' in namespaceObject.metadata.labels)""",
        """'namespace ' + request.namespace + ' has no quota and no NetworkPolicy of tenant '
        + variables.tenant + ' yet; bulkhead tenants apply gives it both'""",
    ),
)

# What a tenant file says of every tenant, trusted or not. Of untrusted ones `untrusted-runtime` says more.
TENANT_POD_RULES: Final = (
    Rule(
        "tenant-runtime",
        f"""variables.asked in variables.classes
        || (variables.asked == '' && !{fact("sandboxRequired")})""",
        """'tenant ' + variables.tenant
        + (variables.asked == '' ? ' runs in a sandbox and the pod names no runtimeClassName'
        : ' has no RuntimeClass ' + variables.asked) + '; allowed: ' + variables.classes.join(', ')""",
    ),
    Rule(
        "priority",
        "!has(object.spec.priority) || object.spec.priority <= variables.ceiling",
        """'priority ' + string(object.spec.priority) + ' is above the ceiling ' + string(variables.ceiling)
        + ' of tenant ' + variables.tenant + '; name priorityClassName ' + variables.priorityClass""",
    ),
)
