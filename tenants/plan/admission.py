"""Whether a pod manifest would be admitted, and which rules it breaks: what the CEL policies say, in Python. Pure.

`explain pod` prints it without asking a server. The names are those of `manifests.admission.rules`; the tests hold
both to one table of pods on a real API server. Besides our own rules a namespace has a Pod Security level:
`pod_security` has those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from tenants.isolation import Refusal, choose_runtime
from tenants.manifests import SCHEDULER
from tenants.manifests.classes import priority_class_name
from tenants.model import Runtime, Tenant, TenantSet, Trust
from tenants.plan import pod_security

_BUFFERS: Final = frozenset(
    {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}
)  # safe to Kubernetes, memory of the node to us
_ORDERS: Final = (
    "cni.projectcalico.org/", "io.containerd.", "io.katacontainers.", "io.kubernetes.cri-o.", "io.kubernetes.cri.",
    "k8s.v1.cni.cncf.io/", "run.oci.", "v1.multus-cni.io/",
)  # fmt: skip
_ORDER_PARTS: Final = ("cdi.k8s.io/", ".crio.io", "nri.io/", "blockio.resources.", "rdt.resources.")
_SYSTEM_PRIORITIES: Final = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_DAY_SECONDS: Final = 86_400
Spec = Mapping[str, Any]


class Denial(msgspec.Struct, frozen=True):
    """A rule that the pod breaks, and why."""

    rule: str
    why: str


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a pod is after the defaults have been filled in."""

    tenant: str
    trust: Trust
    level: str
    runtime_class: str
    handler: str
    sandboxed: bool
    overhead_cpu_milli: int
    overhead_memory_mib: int
    because: str


def standing(tenant: Tenant, spec: Spec, tenants: TenantSet) -> Standing | Refusal:
    """Runtime and overhead of a pod of this tenant, or why it has none."""
    asked = spec.get("runtimeClassName") or ""
    choice = choose_runtime(tenant, asked, tenants.runtime_classes)
    if isinstance(choice, Refusal):
        return choice
    chosen = choice.runtime_class
    return Standing(
        tenant=tenant.name,
        trust=tenant.trust,
        level="restricted" if tenant.trust is Trust.UNTRUSTED else "baseline",
        runtime_class=chosen.name if chosen else "",
        handler=chosen.handler if chosen else "runc",
        sandboxed=choice.sandboxed,
        overhead_cpu_milli=chosen.overhead_cpu_milli if chosen else 0,
        overhead_memory_mib=chosen.overhead_memory_mib if chosen else 0,
        because=_because(tenant, asked),
    )


def denials(tenant: Tenant, pod: Mapping[str, Any], tenants: TenantSet) -> list[Denial]:
    """Every rule that a new pod in a ready namespace of the tenant breaks; none = it is admitted."""
    spec = pod.get("spec") or {}
    found = standing(tenant, spec, tenants)
    untrusted = tenant.trust is Trust.UNTRUSTED
    broken: list[Denial] = []
    if isinstance(found, Refusal):
        broken.append(Denial("untrusted-runtime" if untrusted else "tenant-runtime", found.detail))
    if untrusted:
        broken += _untrusted(tenant, pod, spec, tenants)
    broken += _priority(tenant, spec, tenants)
    level = "restricted" if untrusted else "baseline"
    return broken + [Denial(f"pod-security-{level}", why) for why in pod_security.violations(level, pod)]


def _because(tenant: Tenant, asked: str) -> str:
    if asked:
        return f"the pod names it and tenant {tenant.name} may use it"
    if tenant.trust is Trust.UNTRUSTED:
        return f"tenant {tenant.name} is untrusted, so its pods are sandboxed"
    if tenant.isolation.runtime is Runtime.BULKHEAD:
        return f"isolation.runtime of tenant {tenant.name} is bulkhead"
    return f"tenant {tenant.name} is trusted and the pod names no RuntimeClass"


def _untrusted(tenant: Tenant, pod: Mapping[str, Any], spec: Spec, tenants: TenantSet) -> Iterator[Denial]:
    yield from _annotations((pod.get("metadata") or {}).get("annotations") or {})
    yield from _host(spec)
    yield from _devices(tenant, spec)
    yield from _placement(tenant, spec, tenants)
    for volume in spec.get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            seconds = (source.get("serviceAccountToken") or {}).get("expirationSeconds", 0)
            if seconds > _DAY_SECONDS:
                yield Denial("token", "a projected token lives for at most a day")


def _annotations(annotations: Mapping[str, str]) -> Iterator[Denial]:
    if any(key.startswith("kubernetes.io/config.") for key in annotations):
        yield Denial("mirror-pod", "a pod that claims to be a static pod of a node is not a tenant's")
    for key in annotations:
        if key.startswith(_ORDERS) or any(part in key for part in _ORDER_PARTS):
            yield Denial("runtime-annotation", f"annotation {key} gives orders to the runtime or the network")


def _host(spec: Spec) -> Iterator[Denial]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield Denial("host-namespace", f"{field} is the node's")
    for volume in spec.get("volumes") or ():
        if "hostPath" in volume:
            yield Denial("host-path", "a hostPath volume is a directory of the node")
        elif not pod_security.SAFE_VOLUMES & volume.keys() and len(volume) > 1:
            yield Denial("volume-type", f"volume {volume.get('name')} would be mounted by the node")
    context = spec.get("securityContext") or {}
    for sysctl in context.get("sysctls") or ():
        if sysctl["name"] not in pod_security.SAFE_SYSCTLS - _BUFFERS:
            yield Denial("sysctl", f"sysctl {sysctl['name']} is not one that Kubernetes calls safe")
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield Denial("host-process", "a hostProcess pod runs on the node itself")
    for name, container in pod_security.containers(spec):
        yield from _host_of_container(name, container)


def _host_of_container(name: str, container: Spec) -> Iterator[Denial]:
    context = container.get("securityContext") or {}
    if any(port.get("hostPort") for port in container.get("ports") or ()):
        yield Denial("host-port", f"container {name}: a hostPort opens a port of the node")
    if context.get("privileged"):
        yield Denial("privileged", f"container {name}: a privileged container gets the devices of the node")
    if context.get("procMount", "Default") != "Default":
        yield Denial("proc-mount", f"container {name}: procMount must be Default")
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield Denial("host-process", f"container {name}: a hostProcess container runs on the node itself")
    added = set((context.get("capabilities") or {}).get("add") or ()) - {"NET_BIND_SERVICE"}
    if added:
        yield Denial(
            "capabilities", f"container {name}: adds {', '.join(sorted(added))}; only NET_BIND_SERVICE may be"
        )
    for call in pod_security.calls(container):
        for kind in ("httpGet", "tcpSocket"):
            if (call.get(kind) or {}).get("host"):
                yield Denial(
                    "probe-host", f"container {name}: a probe or hook with a host makes the node call"
                )


def _devices(tenant: Tenant, spec: Spec) -> Iterator[Denial]:
    allowed = {d.resource for d, share in tenant.quota.items() if "/" in d.resource and share.max != 0}
    asked = {
        resource
        for _, container in pod_security.containers(spec)
        for part in ("limits", "requests")
        for resource in (container.get("resources") or {}).get(part) or ()
        if "/" in resource
    }
    if spec.get("resourceClaims") or asked - allowed:
        names = ", ".join(sorted(asked - allowed)) or "resourceClaims"
        yield Denial(
            "device", f"asks for {names}; devices of this tenant: {', '.join(sorted(allowed)) or 'none'}"
        )


def _placement(tenant: Tenant, spec: Spec, tenants: TenantSet) -> Iterator[Denial]:
    if spec.get("nodeName"):
        yield Denial("node-name", "nodeName goes past the scheduler; use nodeSelector or affinity")
    scheduler = spec.get("schedulerName") or SCHEDULER
    if scheduler not in {SCHEDULER, "default-scheduler"}:
        yield Denial("scheduler-name", f"schedulerName must be {SCHEDULER}")
    allowed = _tolerable(tenant, tenants)
    for toleration in spec.get("tolerations") or ():
        key = toleration.get("key") or ""
        if not key.startswith("node.kubernetes.io/") and key not in allowed:
            yield Denial("toleration", f"may not tolerate {key or 'every taint'}")


def _priority(tenant: Tenant, spec: Spec, tenants: TenantSet) -> Iterator[Denial]:
    """By the number, or by the class: Kubernetes' own two, or the one that carries a tenant's ceiling."""
    named = spec.get("priorityClassName") or ""
    known = _SYSTEM_PRIORITIES | {
        priority_class_name(one): one.priority_ceiling for one in tenants.tenants.values()
    }
    if named and named not in known:
        yield Denial(
            "priority", f"the value of PriorityClass {named} is in no tenant file; --server asks for it"
        )
        return
    priority = known[named] if named else spec.get("priority") or 0
    if priority > tenant.priority_ceiling:
        yield Denial("priority", f"priority {priority} is above the ceiling {tenant.priority_ceiling}; "
                                 f"name priorityClassName {priority_class_name(tenant)}")  # fmt: skip


def _tolerable(tenant: Tenant, tenants: TenantSet) -> set[str]:
    """Taints of the nodes that the tenant's classes and devices need."""
    classes = tenants.runtime_classes
    usable = [found for name, found in classes.items()
              if not isinstance(choose_runtime(tenant, name, classes), Refusal)]  # fmt: skip
    keys = {t["key"] for found in usable for t in found.tolerations if "key" in t}
    return keys | {d.resource for d, share in tenant.quota.items() if "/" in d.resource and share.max != 0}
