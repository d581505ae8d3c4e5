"""The offline reading of admission against the escape table, which the real API server is held to as well."""

from __future__ import annotations

from typing import Any

import pytest

from tenants.plan.admission import denials
from tenants.plan.pod_security import violations
from tests.support.escapes import ESCAPES, Escape, escaping, plain_pod
from tests.support.manifests import AGENTS, CAUTIOUS, PLATFORM, TENANTS


def rules(pod: dict[str, Any], tenant: Any = AGENTS) -> list[str]:
    return [denial.rule for denial in denials(tenant, pod, TENANTS)]


def test_a_harmless_pod_is_admitted() -> None:
    for tenant in (AGENTS, PLATFORM, CAUTIOUS):
        assert rules(plain_pod("plain"), tenant) == []


@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape.name)
def test_an_escape_is_refused_by_the_rule_that_the_server_names(escape: Escape) -> None:
    assert escape.rule in rules(escaping(escape, plain_pod(escape.name)))


@pytest.mark.parametrize(
    "escape", [one for one in ESCAPES if one.trusted_rule], ids=lambda escape: escape.name
)
def test_what_is_refused_to_a_trusted_tenant_too(escape: Escape) -> None:
    assert escape.trusted_rule in rules(escaping(escape, plain_pod(escape.name)), PLATFORM)


def test_a_trusted_tenant_that_wants_sandboxes_gets_no_runc() -> None:
    pod = plain_pod("x")
    pod["spec"]["runtimeClassName"] = "runc"
    assert rules(pod, CAUTIOUS) == ["tenant-runtime"]
    assert rules(pod, PLATFORM) == []


@pytest.mark.parametrize(
    ("name", "container", "whole", "want_restricted", "want_baseline"),
    [
        ("escalation", {"allowPrivilegeEscalation": True}, {}, 1, 0),
        ("keeps capabilities", {"capabilities": {}}, {}, 1, 0),
        ("adds CHOWN", {"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}, {}, 1, 0),
        ("adds SYS_ADMIN", {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}, {}, 2, 1),
        ("root by the container", {"runAsUser": 0}, {}, 1, 0),
        ("root by the pod", {}, {"runAsUser": 0}, 1, 0),
        ("may be root", {"runAsNonRoot": False}, {}, 1, 0),
        ("no seccomp", {}, {"seccompProfile": None}, 1, 0),
        ("seccomp off", {}, {"seccompProfile": {"type": "Unconfined"}}, 2, 1),
        ("AppArmor off", {"appArmorProfile": {"type": "Unconfined"}}, {}, 1, 1),
        ("SELinux user", {"seLinuxOptions": {"user": "x"}}, {}, 1, 1),
    ],
)
def test_pod_security_levels(
    name: str, container: dict[str, Any], whole: dict[str, Any], want_restricted: int, want_baseline: int
) -> None:
    pod = plain_pod("x")
    del pod["spec"]["initContainers"]
    pod["spec"]["containers"][0]["securityContext"] |= container
    pod["spec"]["securityContext"] |= whole
    assert len(violations("restricted", pod)) == want_restricted, violations("restricted", pod)
    assert len(violations("baseline", pod)) == want_baseline, name
