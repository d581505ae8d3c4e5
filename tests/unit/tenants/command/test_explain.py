"""explain, audit and import as a user meets them: the words, the places, the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import tenants
from tests.unit.tenants.adopt.samples import CAPSULE, KUEUE

FILES = Path(__file__).parents[4] / "deploy/tenants"


def flow(*words: str) -> tuple[int, list[str]]:
    ran = tenants("explain", "flow", *words, "-f", FILES)
    return ran.status, (ran.out or ran.err).replace(f"{FILES}/", "").splitlines()


@pytest.mark.parametrize(
    ("words", "want_status", "want"),
    [
        (("agents", "platform", "443"), 0,
         ["open: agents -> platform:443",
          "  egress of agents: allowed, network.allowTo[0] lists it (agents.yaml:17)",
          "  ingress of platform: allowed, network.allowFrom[0] lists it (platform.yaml:15)"]),
        (("agents", "platform", "22"), 1,
         ["closed: agents -> platform:22",
          "  egress of agents: denied, network.allowTo[0] names platform, but not this port (agents.yaml:17)",
          "  ingress of platform: denied, network.allowFrom[0] names agents, but not this port (platform.yaml:15)"]),
        (("agents", "ledger-db", "5432"), 1,
         ["closed: agents -> ledger-db:5432",
          "  egress of agents: denied, no entry of network.allowTo names ledger-db; add one to open it "
          "(agents.yaml:16)",
          "  ingress of ledger-db: denied, no entry of network.allowFrom names agents; add one to open it "
          "(ledger-db.yaml:14)"]),
        (("agents", "kube-system", "53/UDP"), 0,
         ["open: agents -> kube-system:53/UDP",
          "  egress of agents: allowed, DNS stays open (network.dns) (agents.yaml:15)",
          "  ingress of kube-system: allowed, belongs to no tenant, so nothing here closes it"]),
        (("platform", "169.254.169.254", "80"), 1,
         ["closed: platform -> 169.254.169.254:80",
          "  egress of platform: denied, the cloud's metadata address is closed for every tenant (platform.yaml:13)",
          "  ingress of 169.254.169.254: allowed, belongs to no tenant, so nothing here closes it"]),
    ],
)  # fmt: skip
def test_a_flow_names_the_entry_that_decided_and_its_line(
    words: tuple[str, ...], want_status: int, want: list[str]
) -> None:
    assert flow(*words) == (want_status, want)


@pytest.mark.parametrize(
    ("words", "want"),
    [
        (("tenant/nobody", "platform", "443"), "no tenant 'nobody'; there are: agents, ledger-db, platform"),
        (("agents", "platform", "70000"), "port 70000 is outside 1-65535"),
        (("agents", "platform", "443/ICMP"), "'ICMP' is none of TCP, UDP, SCTP"),
        (("agents", "1.2.3.4/8", "443"), "'1.2.3.4/8' is no tenant, namespace or IP address"),
    ],
)
def test_a_flow_that_cannot_be_asked_says_why(words: tuple[str, ...], want: str) -> None:
    assert flow(*words) == (2, [f"bulkhead tenants explain: {want}"])


POD = """
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: agents-1}
spec:
  hostPID: true
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: c
    image: x
    resources: {requests: {cpu: 500m, memory: 1Gi}}
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"""


def test_a_pod_says_tenant_runtime_overhead_and_what_refuses_it() -> None:
    ran = tenants("explain", "pod", "-", "-f", FILES, stdin=POD)
    assert ran.status == 1
    assert ran.out.replace(f"{FILES}/", "").splitlines() == [
        "refused: pod agents-1/p",
        "  tenant agents owns namespace agents-1 (agents.yaml:8)",
        "  trust untrusted (agents.yaml:6)",
        "  runtime bulkhead: handler bulkhead, a kernel of its own, because tenant agents is untrusted, so its pods "
        "are sandboxed (runtimeclass.yaml:5)",
        "  overhead 100m CPU, 128Mi memory",
        "  charged 600m cpu, 1152Mi memory",
        "  refused by host-namespace: hostPID is the node's",
        "  refused by pod-security-restricted: hostPID is set",
    ]
    admitted = tenants("explain", "pod", "-", "-f", FILES, stdin=POD.replace("  hostPID: true\n", ""))
    assert (admitted.status, admitted.out.splitlines()[0]) == (0, "admitted: pod agents-1/p")
    moved = tenants("explain", "pod", "-", "-n", "somewhere", "-f", FILES, stdin=POD)
    assert (moved.status, "no tenant owns namespace somewhere" in moved.out) == (0, True)


def test_a_workload_is_explained_by_the_pod_that_it_makes() -> None:
    job = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: platform}
spec: {schedule: "@daily", jobTemplate: {spec: {template: {spec: {containers: [{name: c, image: x}]}}}}}
"""
    ran = tenants("explain", "pod", "-", "-f", FILES, "--format", "json", stdin=job)
    [found] = json.loads(ran.out)
    assert (found["pod"], found["tenant"], found["standing"]["handler"]) == ("nightly", "platform", "runc")
    assert tenants("explain", "pod", "-", "-f", FILES, stdin="kind: Nothing\n").status == 2


def test_a_quota_shows_the_path_the_room_and_who_decides(tmp_path: Path) -> None:
    dump = tmp_path / "pods.json"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "agents-1", "uid": "u"},
           "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "3"}}}],
                    "overhead": {"cpu": "100m"}, "runtimeClassName": "bulkhead"}}  # fmt: skip
    dump.write_text(json.dumps({"kind": "List", "items": [pod]}))
    ran = tenants("explain", "quota", "agents", "-f", FILES, "--pods", dump)
    lines = ran.out.replace(f"{FILES}/", "").splitlines()
    assert lines[:2] == [
        "default/cpu of tenant agents: 44900m available, decided by agents",
        "  agents: uses 3100m; guaranteed 8, max 48, lends unlimited, weight 1 (agents.yaml:11)",
    ]
    assert "default/sandboxes of tenant agents: 199 available, decided by agents" in lines
    assert tenants("explain", "quota", "nobody", "-f", FILES).status == 2


def test_audit_fails_on_what_is_wrong_and_strictly_on_what_is_not_verified(tmp_path: Path) -> None:
    pods, facts = tmp_path / "pods.json", tmp_path / "facts.json"
    spec = {"containers": [], "nodeName": "n", "runtimeClassName": "bulkhead"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "agents-1", "uid": "u"},
        "spec": spec,
    }
    pods.write_text(json.dumps({"kind": "List", "items": [pod]}))
    assert tenants("audit", FILES, "--pods", pods).status == 0
    assert tenants("audit", FILES, "--pods", pods, "--strict").status == 1
    facts.write_text(json.dumps({"u": {"handler": "bulkhead", "guestKernel": "6.12", "hostKernel": "6.18"}}))
    right = tenants("audit", FILES, "--pods", pods, "--node-data", facts, "--strict")
    assert (right.status, right.out) == (0, "1 pods of tenants: 0 wrong, 0 unverified, 1 right\n")
    facts.write_text(json.dumps({"u": {"handler": "runc"}}))
    wrong = tenants("audit", FILES, "--pods", pods, "--node-data", facts)
    assert wrong.status == 1
    assert (
        "SharedKernel: tenant agents needs a sandbox, and it runs on the host's kernel by 'runc'" in wrong.out
    )
    [found] = json.loads(
        tenants("audit", FILES, "--pods", pods, "--node-data", facts, "--format", "json").out
    )
    assert (found["state"], found["reason"]) == ("wrong", "SharedKernel")
    facts.write_text("[")
    assert tenants("audit", FILES, "--pods", pods, "--node-data", facts).status == 2


@pytest.mark.parametrize("text", [KUEUE, CAPSULE])
def test_an_import_passes_check_and_lists_its_doubts(tmp_path: Path, text: str) -> None:
    dump, out = tmp_path / "dump.yaml", tmp_path / "tenants"
    dump.write_text(text)
    ran = tenants("import", "--from", dump, "--to", out)
    assert ran.status == 0, ran.err
    assert ran.err.count("doubt: ") >= 5
    assert tenants("check", out).status == 0
    again = tenants("import", "--from", dump, "--to", out)
    assert (again.status, "add --force" in again.err) == (2, True)
    shown = tenants("import", "--from", dump)
    (tmp_path / "one.yaml").write_text(shown.out)
    assert tenants("check", tmp_path / "one.yaml").status == 0
