"""The event file of `bulkhead replay`: enough to re-verify it alone, and the same bytes for the same input."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.checker.verify import verify
from tests.support.commands import ROOT, TIMEOUT_S, bulkhead, command

QUOTA = "quota: {{default: {{cpu: {{guaranteed: 1}}, memory: {{guaranteed: 1Gi}}}}}}\n"
TENANT = "apiVersion: bulkhead.dev/v1\nkind: Tenant\nname: {}\ntrust: {}\nisolation: {{{}}}\n" + QUOTA
TENANTS = {
    "wary": ("trusted", "coResidency: trusted-only"),
    "enemy": ("trusted", "neverWith: [other]"),
    "other": ("untrusted", ""),
}
RUNTIME_CLASS = (
    "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: bulkhead}\nhandler: bulkhead\n"
)


@pytest.fixture
def neighbours(tmp_path: Path) -> list[str | Path]:
    """A replay of three pods onto one node; the third may not join for two reasons at once."""
    tenants = tmp_path / "tenants"
    tenants.mkdir()
    for name, (trust, wishes) in TENANTS.items():
        (tenants / f"{name}.yaml").write_text(TENANT.format(name, trust, wishes))
    (tenants / "class.yaml").write_text(RUNTIME_CLASS)
    (tmp_path / "nodes.csv").write_text("sn,cpu_milli,memory_mib,gpu\nn1,64000,262144,0\n")
    rows = "".join(f"{name},100,100,0,0,{name}\n" for name in TENANTS)
    (tmp_path / "pods.csv").write_text("name,cpu_milli,memory_mib,num_gpu,gpu_milli,qos\n" + rows)
    rules = "; ".join(f"qos={name}: {name}" for name in TENANTS)
    files: list[str | Path] = ["--nodes", tmp_path / "nodes.csv", "--pods", tmp_path / "pods.csv"]
    return ["replay", *files, "--tenants", tenants, "--assign", rules]


def test_the_same_input_writes_the_same_bytes_in_every_process(
    tmp_path: Path, neighbours: list[str | Path]
) -> None:
    written = set()
    for salt in ("1", "2", "3"):
        events = tmp_path / f"events-{salt}.jsonl"
        salted = {**os.environ, "PYTHONHASHSEED": salt}
        argv = command(*neighbours, "--events", events)
        subprocess.run(argv, check=True, capture_output=True, cwd=ROOT, env=salted, timeout=TIMEOUT_S)
        written.add(events.read_bytes())
    assert len(written) == 1


def daemon(name: str, requests: dict[str, str]) -> dict[str, Any]:
    """A DaemonSet pod that stands on n1."""
    metadata = {"name": name, "namespace": "kube-system", "ownerReferences": [{"kind": "DaemonSet"}]}
    return pod(metadata, requests, nodeName="n1")


def pod(metadata: dict[str, Any], requests: dict[str, str], **spec: str) -> dict[str, Any]:
    containers = [{"resources": {"requests": requests}}]
    return {"kind": "Pod", "metadata": metadata, "spec": {"containers": containers, **spec}, "status": {}}


def replayed(directory: Path, *pods: dict[str, Any]) -> Path:
    """The event file of a replay of these pods on a node of 2 CPUs and a GPU."""
    allocatable = {"cpu": "2", "memory": "8Gi", "pods": "10", "nvidia.com/gpu": "1"}
    node = {"kind": "Node", "metadata": {"name": "n1"}, "status": {"allocatable": allocatable}}
    listing, events = directory / "cluster.json", directory / "events.jsonl"
    listing.write_text(json.dumps({"items": [node, *pods]}))
    ended = bulkhead("replay", "--nodes", listing, "--pods", listing, "--events", events)
    assert ended.returncode == 0, ended.stderr
    return events


def test_a_refusal_beside_a_daemonset_can_be_re_verified(tmp_path: Path) -> None:
    web = pod({"name": "web", "namespace": "shop"}, {"cpu": "1"})
    events = replayed(tmp_path, daemon("agent", {"cpu": "1500m"}), web)
    report = verify(events)
    assert (report.refused, report.violations) == (1, 0)


def test_a_gpu_that_a_daemonset_holds_is_not_given_away(tmp_path: Path) -> None:
    web = pod({"name": "web", "namespace": "shop"}, {"cpu": "1", "nvidia.com/gpu": "1"})
    events = replayed(tmp_path, daemon("sampler", {"cpu": "100m", "nvidia.com/gpu": "1"}), web)
    assert verify(events).refused == 1
