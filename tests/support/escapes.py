"""Ways out of a sandbox, one a row: what is added to a harmless pod, and the rule that must refuse it.

The harmless pod meets the `restricted` Pod Security Standard, so that each row breaks one thing. Data only.
"""

from __future__ import annotations

import copy
import enum
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

Json = dict[str, Any]


class Place(enum.Enum):
    """Which container of the pod a row changes."""

    MAIN = "containers"
    INIT = "initContainers"


class Escape(NamedTuple):
    """`container` is merged into the container at `place`; the other mappings into the pod.

    `trusted_rule`: what refuses it for a trusted tenant too, if anything. `on_create_only`: a pod that is
    there already is like that legitimately (every bound pod has a nodeName), or Kubernetes changes no such pod.
    """

    name: str
    rule: str
    spec: Mapping[str, Any] = {}
    container: Mapping[str, Any] = {}
    annotations: Mapping[str, str] = {}
    place: Place = Place.MAIN
    trusted_rule: str = ""
    on_create_only: bool = False


def _context(**settings: Any) -> Json:
    return {"securityContext": settings}


def _volume(**source: Any) -> Json:
    return {"volumes": [{"name": "way-out", **source}]}


def _tolerate(**toleration: str) -> Json:
    return {"tolerations": [toleration]}


_HTTP: Final = {"port": 80, "host": "169.254.169.254", "path": "/"}

ESCAPES: Final = (
    Escape("runc-class", "untrusted-runtime", {"runtimeClassName": "runc"}),
    Escape("foreign-class", "untrusted-runtime", {"runtimeClassName": "kata"}, trusted_rule="tenant-runtime"),
    Escape("mirror-pod", "mirror-pod", {"nodeName": "node-1"},  # Kubernetes demands the node's name of it
           annotations={"kubernetes.io/config.mirror": "abc"}, on_create_only=True),
    Escape("static-source", "mirror-pod", annotations={"kubernetes.io/config.source": "file"}),
    Escape("static-hash", "mirror-pod", annotations={"kubernetes.io/config.hash": "abc"}),
    Escape("untrusted-workload", "runtime-annotation",
           annotations={"io.kubernetes.cri.untrusted-workload": "false"}),
    Escape("cri-annotation", "runtime-annotation", annotations={"io.kubernetes.cri.rdt-class": "gold"}),
    Escape("containerd-handler", "runtime-annotation",
           annotations={"io.containerd.cri.runtime-handler": "runc"}),
    Escape("block-io-class", "runtime-annotation",
           annotations={"blockio.resources.beta.kubernetes.io/pod": "high"}),
    Escape("cache-class", "runtime-annotation", annotations={"rdt.resources.beta.kubernetes.io/pod": "gold"}),
    Escape("kata-virtiofs", "runtime-annotation",
           annotations={"io.katacontainers.config.hypervisor.virtio_fs_extra_args": '["-o","source=/"]'}),
    Escape("kata-kernel", "runtime-annotation",
           annotations={"io.katacontainers.config.hypervisor.kernel": "/srv/kernel"}),
    Escape("cri-o-trusted", "runtime-annotation",
           annotations={"io.kubernetes.cri-o.TrustedSandbox": "true"}),
    Escape("cri-o-userns", "runtime-annotation",
           annotations={"io.kubernetes.cri-o.userns-mode": "auto:size=65536"}),
    Escape("cri-o-irq", "runtime-annotation", annotations={"irq-load-balancing.crio.io": "disable"}),
    Escape("cdi-device", "runtime-annotation", annotations={"cdi.k8s.io/gpu": "vendor.example/gpu=all"}),
    Escape("nri-device", "runtime-annotation", annotations={"devices.nri.io/container.main": "- path: /dev/kvm"}),
    Escape("crun-handler", "runtime-annotation", annotations={"run.oci.handler": "krun"}),
    Escape("second-network", "runtime-annotation", annotations={"k8s.v1.cni.cncf.io/networks": "host-lan"}),
    Escape("default-network", "runtime-annotation", annotations={"v1.multus-cni.io/default-network": "lan"}),
    Escape("chosen-address", "runtime-annotation",
           annotations={"cni.projectcalico.org/ipAddrs": '["10.0.0.1"]'}),
    Escape("windows-host-process", "host-process",
           {"hostNetwork": True, "securityContext": {"windowsOptions": {"hostProcess": True}}}),
    Escape("host-network", "host-namespace", {"hostNetwork": True}),
    Escape("host-pid", "host-namespace", {"hostPID": True}),
    Escape("host-ipc", "host-namespace", {"hostIPC": True}),
    Escape("host-port", "host-port", container={"ports": [{"containerPort": 80, "hostPort": 80}]}),
    Escape("init-host-port", "host-port", container={"ports": [{"containerPort": 80, "hostPort": 8080}]},
           place=Place.INIT),
    Escape("host-root", "host-path", _volume(hostPath={"path": "/"})),
    Escape("containerd-socket", "host-path",
           _volume(hostPath={"path": "/run/containerd/containerd.sock", "type": "Socket"})),
    Escape("nfs-volume", "volume-type", _volume(nfs={"server": "10.0.0.1", "path": "/"})),
    Escape("iscsi-volume", "volume-type",
           _volume(iscsi={"targetPortal": "10.0.0.1:3260", "iqn": "iqn.2026-01.test:disk", "lun": 0})),
    Escape("flex-volume", "volume-type", _volume(flexVolume={"driver": "vendor.example/mount"})),
    Escape("fibre-channel", "volume-type", _volume(fc={"wwids": ["3600"], "readOnly": True})),
    Escape("privileged", "privileged", container=_context(privileged=True, allowPrivilegeEscalation=True)),
    Escape("init-privileged", "privileged",
           container=_context(privileged=True, allowPrivilegeEscalation=True), place=Place.INIT),
    Escape("sidecar-privileged", "privileged",
           container={"restartPolicy": "Always",
                      **_context(privileged=True, allowPrivilegeEscalation=True)}, place=Place.INIT),
    Escape("cap-sys-admin", "capabilities", container=_context(capabilities={"add": ["SYS_ADMIN"]})),
    Escape("cap-net-raw", "capabilities", container=_context(capabilities={"add": ["NET_RAW"]})),
    Escape("cap-all", "capabilities", container=_context(capabilities={"add": ["ALL"]})),
    Escape("init-cap-bpf", "capabilities", container=_context(capabilities={"add": ["BPF"]}), place=Place.INIT),
    Escape("unmasked-proc", "proc-mount", {"hostUsers": False}, _context(procMount="Unmasked")),
    Escape("sysctl-somaxconn", "sysctl",
           {"securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "1024"}]}}),
    Escape("sysctl-msgmax", "sysctl",
           {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "65536"}]}}),
    Escape("resource-claim", "device",
           {"resourceClaims": [{"name": "gpu", "resourceClaimName": "somebodys-gpu"}]}),
    Escape("kvm-device", "device", container={"resources": {"limits": {"devices.example/kvm": "1"}}}),
    Escape("init-fpga", "device", container={"resources": {"limits": {"vendor.example/fpga": "1"}}},
           place=Place.INIT),
    Escape("liveness-host", "probe-host", container={"livenessProbe": {"httpGet": _HTTP}}),
    Escape("readiness-host", "probe-host",
           container={"readinessProbe": {"tcpSocket": {"port": 22, "host": "10.0.0.1"}}}),
    Escape("startup-host", "probe-host", container={"startupProbe": {"httpGet": _HTTP}}),
    Escape("sidecar-host", "probe-host",
           container={"restartPolicy": "Always", "livenessProbe": {"httpGet": _HTTP}}, place=Place.INIT),
    Escape("poststart-host", "probe-host", container={"lifecycle": {"postStart": {"httpGet": _HTTP}}}),
    Escape("prestop-host", "probe-host", container={"lifecycle": {"preStop": {"httpGet": _HTTP}}}),
    Escape("node-name", "node-name", {"nodeName": "node-1"}, on_create_only=True),
    Escape("own-scheduler", "scheduler-name", {"schedulerName": "my-scheduler"}),
    Escape("tolerate-everything", "toleration", _tolerate(operator="Exists")),
    Escape("tolerate-execution", "toleration", _tolerate(operator="Exists", effect="NoExecute")),
    Escape("tolerate-control-plane", "toleration",
           _tolerate(key="node-role.kubernetes.io/control-plane", operator="Exists")),
    Escape("tolerate-runc-only", "toleration",
           _tolerate(key="bulkhead.dev/runc-only", operator="Equal", value="true", effect="NoSchedule")),
    Escape("high-priority", "priority", {"priorityClassName": "high"}),
    Escape("cluster-critical", "priority", {"priorityClassName": "system-cluster-critical"}, trusted_rule="priority"),
    Escape("node-critical", "priority", {"priorityClassName": "system-node-critical"}, trusted_rule="priority"),
    Escape("year-long-token", "token",
           _volume(projected={"sources": [
               {"serviceAccountToken": {"path": "token", "expirationSeconds": 31_536_000}}]})),
)  # fmt: skip

# What must stay possible: each row is close to a rule and on the right side of it.
HARMLESS: Final = (
    Escape("as-it-is", ""),
    Escape("own-class", "", {"runtimeClassName": "bulkhead"}),
    Escape("low-port", "", container=_context(capabilities={"add": ["NET_BIND_SERVICE"]})),
    Escape("safe-sysctl", "",
           {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]}}),
    Escape("container-port", "", container={"ports": [{"containerPort": 80}]}),
    Escape("probes-of-its-own", "",
           container={"livenessProbe": {"httpGet": {"port": 80}}, "readinessProbe": {"tcpSocket": {"port": 80}},
                      "startupProbe": {"exec": {"command": ["true"]}},
                      "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}),
    Escape("usual-volumes", "", {"volumes": [
        {"name": "a", "emptyDir": {}}, {"name": "b", "configMap": {"name": "x"}},
        {"name": "c", "secret": {"secretName": "x"}}, {"name": "d", "persistentVolumeClaim": {"claimName": "x"}},
        {"name": "e", "downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"name": "f", "csi": {"driver": "secrets.example"}}, {"name": "g", "image": {"reference": "example/a:1"}},
        {"name": "h", "projected": {"sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}]}},
    ]}),
    Escape("mounted-token", "", {"automountServiceAccountToken": True}),
    Escape("user-namespace", "", {"hostUsers": False}),
    Escape("own-taint", "", _tolerate(key="bulkhead.dev/sandbox", operator="Exists")),
    Escape("slow-node", "",
           _tolerate(key="node.kubernetes.io/unreachable", operator="Exists", effect="NoExecute")),
    Escape("gpu", "",
           {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]},
           {"resources": {"limits": {"nvidia.com/gpu": "1"}}}),
    Escape("ceiling", "", {"priorityClassName": "bulkhead-agents"}),
    Escape("chosen-nodes", "", {"nodeSelector": {"zone": "a"}}),
    Escape("own-annotation", "", annotations={"example.com/team": "blue", "prometheus.io/scrape": "true"}),
)  # fmt: skip


def plain_pod(name: str) -> Json:
    """A pod that breaks nothing."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": plain_spec()}


def plain_spec() -> Json:
    container = {
        "image": "registry.example/app:1",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [{"name": "first", **copy.deepcopy(container)}],
        "containers": [
            {
                "name": "main",
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                **copy.deepcopy(container),
            }
        ],
    }


def escaping(escape: Escape, pod: Json) -> Json:
    """The pod with the row's way out added."""
    changed = copy.deepcopy(pod)
    changed["metadata"].setdefault("annotations", {}).update(escape.annotations)
    merge(changed["spec"], escape.spec)
    merge(changed["spec"][escape.place.value][0], escape.container)
    return changed


def merge(into: Json, extra: Mapping[str, Any]) -> None:
    """Adds `extra` at every depth; lists are appended to."""
    for key, value in extra.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        elif isinstance(value, list) and isinstance(into.get(key), list):
            into[key] += copy.deepcopy(value)
        else:
            into[key] = copy.deepcopy(value)
