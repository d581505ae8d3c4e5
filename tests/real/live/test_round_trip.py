"""Plan and apply against a real API server: what is applied is what is planned, and then nothing changes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tenants.manifests import render
from tenants.model import Allowance, Dimension, Network, Peer, Port, RuntimeClass, Tenant, TenantSet, Trust
from tenants.quantity import UNLIMITED
from tests.real.live.models import MODEL, changed, stated
from tests.real.live.server import Server, must, must_apply, namespace
from tests.support.command import steps
from tests.support.manifests import SANDBOX

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("live")]


def plan_of(server: Server, model: TenantSet, *words: str) -> dict[str, Any]:
    ran = server.plan(model, "--format", "json", *words)
    assert not ran.err, ran.err
    found: dict[str, Any] = msgspec.json.decode(ran.out)
    return found


def texts(plan: dict[str, Any]) -> list[str]:
    return [effect["text"] for effect in plan["effects"]]


def test_what_is_applied_is_no_change_any_more(server: Server) -> None:
    first = server.plan(MODEL)
    assert first.status == 1, first.err
    assert "tenant agents is new: untrusted" in first.out
    applied = server.apply(MODEL)
    assert applied.status == 0, applied.err
    again = server.plan(MODEL)
    assert (again.status, again.out.splitlines()[-1]) == (0, "nothing changes"), again.out
    rendered = {
        f"{m['kind']} {m['metadata'].get('namespace', '')}/{m['metadata']['name']}" for m in render(MODEL)
    }
    assert server.names() == rendered | {"ConfigMap kube-system/bulkhead-tenant-files"}
    assert steps(server.apply(MODEL)) == []


def test_walls_stand_before_anybody_is_let_in(server: Server) -> None:
    written = [(step["ref"]["kind"], step["ref"]["namespace"], step["ref"]["name"])  # type: ignore[index]
               for step in steps(server.apply(MODEL))]  # fmt: skip
    kinds = [kind for kind, _, _ in written]
    spaces = [index for index, step in enumerate(written) if step == ("Namespace", "", "agents")]
    assert len(spaces) == 2, "bare first, ready when its fences stand"
    fences = [index for index, (kind, home, _) in enumerate(written)
              if home == "agents" and kind in {"NetworkPolicy", "ResourceQuota", "LimitRange"}]  # fmt: skip
    assert max((i for i, kind in enumerate(kinds) if kind.endswith("PolicyBinding")), default=-1) < spaces[0]
    assert spaces[0] < min(fences)
    assert max(fences) < kinds.index("RoleBinding")
    assert max(fences) < spaces[1]
    assert written[-1] == ("ConfigMap", "kube-system", "bulkhead-tenant-files")


def test_a_changed_file_is_told_by_its_effects_and_then_applied(server: Server) -> None:
    must_apply(server, MODEL)
    quota = {**MODEL.tenants["agents"].quota, Dimension("default", "nvidia.com/gpu"): Allowance(max=2000)}
    peer = Network(allow_to=(Peer(tenant="platform", ports=(Port(port=443),)), Peer(cidr="192.0.2.0/24")))
    model = changed(changed(MODEL, "agents", quota=quota, network=peer), "platform", priority_ceiling=5)
    model = msgspec.structs.replace(model, runtime_classes={
        **model.runtime_classes, "runc": RuntimeClass(name="runc", handler="crun")})  # fmt: skip
    plan = plan_of(server, model)
    assert "flow agents -> 192.0.2.0/24:* opens" in texts(plan)
    assert "max of tenant agents for default/nvidia.com/gpu lowered (4500m → 2)" in texts(plan)
    assert "priority ceiling of platform: 1000000 → 5" in texts(plan)
    actions = {f"{one['ref']['kind']} {one['ref']['name']}": one["action"] for one in plan["changes"]}
    assert actions["PriorityClass bulkhead-platform"] == "replace", "its value never changes in place"
    assert actions["RuntimeClass runc"] == "replace"
    assert actions["ResourceQuota bulkhead"] == "update"
    must_apply(server, model)
    assert plan_of(server, model)["empty"]
    assert (
        must(server.admin.get("/apis/scheduling.k8s.io/v1/priorityclasses/bulkhead-platform")).body["value"]
        == 5
    )


def test_somebodys_edit_is_a_change_without_an_effect(server: Server) -> None:
    must_apply(server, MODEL)
    path = "/apis/networking.k8s.io/v1/namespaces/agents/networkpolicies/bulkhead-isolate"
    must(server.admin.merge(path, {"spec": {"ingress": [{}]}}))
    plan = plan_of(server, MODEL, "--force-conflicts")
    assert texts(plan) == []
    [change] = plan["changes"]
    assert change["fields"][0]["path"].startswith("spec.ingress[0]")
    assert server.apply(MODEL, "--force-conflicts").status == 0
    assert plan_of(server, MODEL)["empty"]


def test_running_pods_are_counted(server: Server) -> None:
    trusted = {**MODEL.tenants["platform"].quota, Dimension("default", "cpu"): Allowance(guaranteed=4000)}
    model = changed(MODEL, "platform", quota=trusted)
    must_apply(server, model)
    request = {"resources": {"requests": {"cpu": "2", "memory": "1Gi"}}}
    for name in ("a", "b"):
        server.pod(
            "platform", name, containers=[{"name": "main", "image": "registry.example/app", **request}]
        )
    less = {**trusted, Dimension("default", "cpu"): Allowance(guaranteed=2000, max=UNLIMITED)}
    found = texts(plan_of(server, changed(changed(model, "platform", quota=less), "platform", trust=Trust.UNTRUSTED,
                                          priority_ceiling=0, quota=less)))  # fmt: skip
    assert "tenant platform loses 2 CPU of guarantee (4 → 2)" in found
    assert "1 pod of platform becomes reclaimable for default/cpu" in found
    assert "2 running pods of platform on runc must restart" in found


def test_a_namespace_under_a_prefix_is_taken_in_and_its_labels_are_ours(server: Server) -> None:
    must_apply(server, MODEL)
    server.create(namespace("agents-7"))  # admission labels it, so its creator owns those labels
    assert server.plan(MODEL).status == 1
    must_apply(server, MODEL)
    assert plan_of(server, MODEL)["empty"]
    trusted = changed(MODEL, "agents", trust=Trust.TRUSTED, isolation=MODEL.tenants["cautious"].isolation)
    applied = server.apply(trusted)
    assert applied.status == 0, applied.out + applied.err
    labels = must(server.admin.get("/api/v1/namespaces/agents-7")).body["metadata"]["labels"]
    assert labels["bulkhead.dev/trust"] == "trusted"


def test_the_record_survives_being_compressed(server: Server) -> None:
    many = TenantSet(
        tenants={f"t{number}": stated(Tenant(name=f"t{number}", namespace_prefixes=(f"t{number}-",)))
                 for number in range(20)},
        runtime_classes={"bulkhead": SANDBOX},
    )  # fmt: skip
    must_apply(server, many)
    assert plan_of(server, many)["empty"]
