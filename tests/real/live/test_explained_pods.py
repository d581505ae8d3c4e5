"""What `explain pod` says offline against what the API server says: the same pods, the same answer."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator

import pytest

from tenants.plan.admission import denials
from tests.real.live.models import MODEL
from tests.real.live.server import Json, Server, must, must_apply
from tests.support.command import tenants
from tests.support.escapes import ESCAPES, escaping, plain_pod
from tests.support.kubernetes import wait_until

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("live")]


def variants() -> Iterator[tuple[str, Json]]:
    """The escape table, and pods that the Pod Security Standards judge."""
    yield "plain", plain_pod("plain")
    for escape in ESCAPES:
        if escape.spec.get("priorityClassName") != "high":  # in no tenant file: only the server can know it
            yield escape.name, escaping(escape, plain_pod(escape.name))
    for name, container, whole in (
        ("escalation", {"allowPrivilegeEscalation": True}, {}),
        ("capabilities-kept", {"capabilities": {}}, {}),
        ("chown", {"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}, {}),
        ("bind", {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}, {}),
        ("root", {"runAsUser": 0}, {}),
        ("root-pod", {}, {"runAsUser": 0}),
        ("may-be-root", {"runAsNonRoot": False}, {}),
        ("user", {"runAsUser": 1000}, {}),
        ("seccomp-off", {}, {"seccompProfile": {"type": "Unconfined"}}),
        ("seccomp-none", {}, {"seccompProfile": None}),
        ("apparmor-off", {"appArmorProfile": {"type": "Unconfined"}}, {}),
        ("selinux-type", {"seLinuxOptions": {"type": "spc_t"}}, {}),
        ("selinux-level", {"seLinuxOptions": {"level": "s0:c1"}}, {}),
        ("safe-sysctl", {}, {"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]}),
        ("buffer-sysctl", {}, {"sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1"}]}),
    ):
        pod = copy.deepcopy(plain_pod(name))
        pod["spec"]["containers"][0]["securityContext"] |= container
        pod["spec"]["securityContext"] |= whole
        yield name, pod


def test_offline_and_the_server_agree(server: Server) -> None:
    must_apply(server, MODEL)
    account: Json = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    compared, differ = 0, []
    for tenant in MODEL.tenants.values():
        home = tenant.namespaces[0]
        assert server.admin.create(account, home).status in {201, 409}
        for name, pod in variants():
            path = f"/api/v1/namespaces/{home}/pods?dryRun=All"
            answer = server.admin.call("POST", path, pod)
            if answer.status == 422 and "bulkhead" not in answer.message:
                continue  # no valid pod for anybody: not a question of admission
            offline = denials(tenant, pod, MODEL)
            compared += 1
            if answer.ok is bool(offline):
                differ.append((home, name, answer.message, offline))
    assert not differ, "\n".join(map(str, differ))
    assert compared >= 150, compared


def test_explain_pod_can_ask_the_server(server: Server) -> None:
    must_apply(server, MODEL)
    account: Json = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    wait_until(
        "the account is there", lambda: server.admin.create(account, "agents").status in {201, 409} or None
    )
    manifest = server.directory / "pod.json"
    for escape in ("plain", "host-network"):
        pod = dict(variants())[escape]
        manifest.write_text(json.dumps(pod))
        ran = tenants("explain", "pod", manifest, "-n", "agents", "-f", server.directory / "tenants", "--server",
                      "--kubeconfig", server.plane.kubeconfig())  # fmt: skip
        assert ran.status == (0 if escape == "plain" else 1), ran.err
        assert ("server: pod plain: admitted" in ran.err) is (escape == "plain")
    assert must(server.admin.get("/api/v1/namespaces/agents/pods")).body["items"] == []
