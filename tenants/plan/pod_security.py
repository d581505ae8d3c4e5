"""The Pod Security Standards `baseline` and `restricted`, as the API server's own admission checks them. Pure.

Source: k8s.io/pod-security-admission policy, the checks at version latest for pods of Linux.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

Spec = Mapping[str, Any]
_BASELINE_CAPABILITIES: Final = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip
SAFE_SYSCTLS: Final = frozenset({
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem",
})  # fmt: skip
SAFE_VOLUMES: Final = frozenset({
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected",
    "secret",
})  # fmt: skip
_SELINUX_TYPES: Final = frozenset(
    {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
)
_SECCOMP: Final = frozenset({"RuntimeDefault", "Localhost"})
_KINDS: Final = ("containers", "initContainers", "ephemeralContainers")


def containers(spec: Spec) -> Iterator[tuple[str, Spec]]:
    """(name, container) of every kind of container."""
    for kind in _KINDS:
        for container in spec.get(kind) or ():
            yield container.get("name", "?"), container


def violations(level: str, pod: Mapping[str, Any]) -> list[str]:
    """What the pod breaks of `baseline` or `restricted`, a sentence each."""
    spec = pod.get("spec") or {}
    found = [*_baseline(spec)]
    if level == "restricted":
        found += _restricted(spec)
    return list(dict.fromkeys(found))


def _context(part: Spec) -> Spec:
    found: Spec = part.get("securityContext") or {}
    return found


def _baseline(spec: Spec) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"{field} is set"
    if any("hostPath" in volume for volume in spec.get("volumes") or ()):
        yield "a hostPath volume"
    for sysctl in _context(spec).get("sysctls") or ():
        if sysctl["name"] not in SAFE_SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    yield from _profiles("the pod", _context(spec))
    for name, container in containers(spec):
        yield from _baseline_container(name, container, own_users=spec.get("hostUsers") is False)


def calls(container: Spec) -> Iterator[Spec]:
    """Probes and lifecycle hooks: what the node does for the container."""
    yield from (container.get(probe) or {} for probe in ("livenessProbe", "readinessProbe", "startupProbe"))
    yield from (hook or {} for hook in (container.get("lifecycle") or {}).values())


def _baseline_container(name: str, container: Spec, *, own_users: bool) -> Iterator[str]:
    context = _context(container)
    for call in calls(container):
        for kind in ("httpGet", "tcpSocket"):
            if (call.get(kind) or {}).get("host") not in {None, "", "127.0.0.1", "::1"}:
                yield f"container {name} has a probe or hook with a host"
    if context.get("privileged"):
        yield f"container {name} is privileged"
    for added in (context.get("capabilities") or {}).get("add") or ():
        if added not in _BASELINE_CAPABILITIES:
            yield f"container {name} adds capability {added}"
    if any(port.get("hostPort") for port in container.get("ports") or ()):
        yield f"container {name} has a hostPort"
    if context.get("procMount", "Default") != "Default" and not own_users:
        yield f"container {name} has an unmasked /proc"
    yield from _profiles(f"container {name}", context)


def _profiles(who: str, context: Spec) -> Iterator[str]:
    """seccomp, AppArmor, SELinux and host processes, for the pod and for each container."""
    if (context.get("seccompProfile") or {}).get("type") == "Unconfined":
        yield f"{who} has seccomp switched off"
    if (context.get("appArmorProfile") or {}).get("type") == "Unconfined":
        yield f"{who} has AppArmor switched off"
    selinux = context.get("seLinuxOptions") or {}
    if selinux.get("type", "") not in _SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
        yield f"{who} changes SELinux options"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield f"{who} is a hostProcess"


def _restricted(spec: Spec) -> Iterator[str]:
    for volume in spec.get("volumes") or ():
        if not SAFE_VOLUMES & volume.keys() and len(volume) > 1:
            yield f"volume {volume.get('name')} is of a kind that reaches the host"
    whole = _context(spec)
    if whole.get("runAsUser") == 0:
        yield "the pod runs as root (runAsUser: 0)"
    for name, container in containers(spec):
        yield from _restricted_container(name, _context(container), whole)


def _restricted_container(name: str, context: Spec, whole: Spec) -> Iterator[str]:
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"container {name} must set allowPrivilegeEscalation: false"
    capabilities = context.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or ()):
        yield f"container {name} must drop capability ALL"
    if set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}:
        yield f"container {name} adds a capability beside NET_BIND_SERVICE"
    if context.get("runAsNonRoot", whole.get("runAsNonRoot")) is not True:
        yield f"container {name} must set runAsNonRoot: true"
    if context.get("runAsUser") == 0:
        yield f"container {name} runs as root (runAsUser: 0)"
    profile = context.get("seccompProfile") or whole.get("seccompProfile") or {}
    if profile.get("type") not in _SECCOMP:
        yield f"container {name} must set seccompProfile RuntimeDefault or Localhost"
