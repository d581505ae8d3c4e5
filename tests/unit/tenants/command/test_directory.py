"""plan and apply to a directory of YAML: whole files, ours pruned, others untouched, interrupted at any point."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tenants.live.directory import HEADER, UNFINISHED
from tenants.model import Allowance, Dimension, Network, Tenant, TenantSet
from tests.support.command import argv, tenants, write_files
from tests.support.manifests import SANDBOX

QUOTA = {Dimension("default", "cpu"): Allowance(guaranteed=8000), Dimension("default", "memory"): Allowance()}


def model(*names: str, **fields: Any) -> TenantSet:
    made = {name: Tenant(name=name, namespaces=(name,), quota=QUOTA, **fields) for name in names}
    return TenantSet(tenants=made, runtime_classes={"bulkhead": SANDBOX})


def apply(files: Path, out: Path, *words: str) -> Any:
    return tenants("apply", files, "--to", out, "--yes", *words)


def contents(out: Path) -> Mapping[str, str]:
    return {str(path.relative_to(out)): path.read_text() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return write_files(tmp_path / "tenants", model("a", "b"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_what_is_applied_is_no_change_any_more(files: Path, out: Path) -> None:
    planned = tenants("plan", files, "--to", out)
    assert (planned.status, "tenant a is new" in planned.out) == (1, True)
    assert not out.exists(), "a plan writes nothing"
    assert apply(files, out).status == 0
    again = tenants("plan", files, "--against", out)
    assert (again.status, again.out.splitlines()[-1]) == (0, "nothing changes")
    before = contents(out)
    assert apply(files, out).out.endswith("nothing changes\n")
    assert contents(out) == before
    for name, text in before.items():
        assert text.startswith(HEADER), name
        assert yaml.safe_load(text)["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "bulkhead"


def test_a_plan_shows_effects_and_deletions(files: Path, out: Path) -> None:
    apply(files, out)
    write_files(files, model("a", network=Network(isolate=False)))
    found = tenants("plan", files, "--to", out)
    assert found.status == 1
    assert "tenant b is deleted with its quota, policies and rights" in found.out
    assert "flow a -> 0.0.0.0/0:* opens" in found.out
    assert "- Namespace b (delete)" in found.out
    comment = tenants("plan", files, "--to", out, "--format", "markdown").out
    assert "**Opens something**" in comment
    assert "- Namespace b (delete)" in comment
    plan = json.loads(tenants("plan", files, "--to", out, "--format", "json").out)
    assert not plan["empty"]
    assert {change["action"] for change in plan["changes"]} == {"create", "update", "delete"}
    assert {effect["impact"] for effect in plan["effects"]} == {"disrupts", "weakens"}


def test_stale_files_of_ours_go_and_others_stay(files: Path, out: Path) -> None:
    apply(files, out)
    foreign = {
        "kustomization.yaml": "resources: [cluster]\n",
        "namespaces/b/theirs.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: b}\n",
        "namespaces/a/broken.yaml": "{[\n",
        "README.md": "by hand\n",
        "cluster/copied.yaml": (out / "cluster/runtimeclass-bulkhead.yaml").read_text().removeprefix(HEADER),
    }
    for name, text in foreign.items():
        (out / name).write_text(text)
    write_files(files, model("a"))
    assert apply(files, out).status == 0
    left = contents(out)
    assert {name: left[name] for name in foreign} == foreign
    assert [name for name in left if name.startswith("namespaces/b/")] == ["namespaces/b/theirs.yaml"]
    assert tenants("plan", files, "--to", out).status == 0


def test_a_foreign_file_in_our_place_is_a_conflict(files: Path, out: Path) -> None:
    place = out / "namespaces/a/namespace-a.yaml"
    place.parent.mkdir(parents=True)
    place.write_text("mine\n")
    assert tenants("plan", files, "--to", out).status == 1
    refused = apply(files, out)
    assert refused.status == 1
    assert "--force-conflicts" in refused.out
    assert place.read_text() == "mine\n"
    assert apply(files, out, "--force-conflicts").status == 0
    assert place.read_text().startswith(HEADER)


def test_a_file_that_was_edited_is_put_right(files: Path, out: Path) -> None:
    apply(files, out)
    path = out / "namespaces/a/networkpolicy-bulkhead-isolate.yaml"
    path.write_text(path.read_text().replace("Egress", "Ingress"))
    found = tenants("plan", files, "--to", out)
    assert (found.status, "0 effects; objects: 1 updated" in found.out) == (1, True)
    apply(files, out)
    assert "Egress" in path.read_text()


@pytest.mark.parametrize("lines", [0, 1, 2, 5, 9, 14, 20, 26])
def test_killed_at_any_point_every_file_is_whole_and_the_next_apply_converges(
    files: Path, out: Path, lines: int
) -> None:
    apply(files, out)
    write_files(files, model("a", "c", "d", network=Network(dns=False)))
    line = [*argv("apply", files, "--to", out, "--yes", "--format", "json")]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        for _ in range(lines):
            process.stdout.readline()
        time.sleep(0.001 * (lines % 3))
        process.kill()
        process.stdout.read()
    assert process.wait(20) in {-signal.SIGKILL, 0}
    for name, text in contents(out).items():
        if UNFINISHED not in name:
            assert yaml.safe_load(text)["kind"], name
    assert apply(files, out).status == 0
    assert tenants("plan", files, "--to", out).status == 0
    assert not [name for name in contents(out) if UNFINISHED in name]


def test_half_written_files_of_a_crash_are_cleared_away(files: Path, out: Path) -> None:
    out.mkdir()
    (out / f"{UNFINISHED}x.yaml").write_text("half")
    apply(files, out)
    assert not list(out.rglob(f"{UNFINISHED}*"))


def test_a_record_that_nobody_can_read_is_said_and_objects_are_compared(files: Path, out: Path) -> None:
    apply(files, out)
    path = out / "namespaces/kube-system/configmap-bulkhead-tenant-files.yaml"
    kept = yaml.safe_load(path.read_text())
    kept["data"]["tenants.yaml"] = "kind: ["
    path.write_text(HEADER + yaml.safe_dump(kept))
    found = tenants("plan", files, "--to", out)
    assert found.status == 1
    assert "no readable record of the last apply there" in found.out
    assert apply(files, out).status == 0
    assert tenants("plan", files, "--to", out).status == 0


def test_bad_input_is_exit_status_2(tmp_path: Path, files: Path, out: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("kind: Tenant\n")
    assert tenants("plan", broken, "--to", out).status == 2
    assert tenants("apply", broken, "--to", out, "--yes").status == 2
    nobody = tenants("apply", files, "--to", out)
    assert (nobody.status, "add --yes" in nobody.err) == (2, True)
    assert not out.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere, so no directory is closed")
def test_a_directory_that_is_closed_is_said(files: Path, out: Path) -> None:
    out.mkdir(mode=0o500)
    ran = apply(files, out)
    assert (ran.status, "Traceback" in ran.err) == (1, False)


def test_no_api_server_is_one_line(files: Path, tmp_path: Path) -> None:
    ran = tenants("plan", files, "--kubeconfig", tmp_path / "nowhere")
    assert ran.status == 1
    assert len(ran.err.splitlines()) == 1
    assert "no way to an API server" in ran.err


def test_every_step_is_one_json_line_and_the_last_one_sums_up(files: Path, out: Path) -> None:
    lines = [msgspec.json.decode(line) for line in apply(files, out, "--format", "json").out.splitlines()]
    assert {step["outcome"] for step in lines[:-1]} == {"written"}
    assert lines[-1]["done"] is True
    assert lines[-1]["written"] == len(lines) - 1
