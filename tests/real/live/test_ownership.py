"""What is ours is pruned, what is not is left alone; fields of others, missing rights, namespaces in use."""

from __future__ import annotations

from typing import Any

import pytest

from tenants.manifests.objects import MANAGED_BY, OWNER, TENANT_LABEL
from tests.real.live.models import MODEL, changed, without
from tests.real.live.server import Json, Server, must, must_apply, namespace
from tests.support.command import steps
from tests.support.kubernetes import APPLY, wait_until

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("live")]


def foreign_objects() -> list[Json]:
    """Twelve things of others: beside ours, named like ours, labelled nearly like ours."""
    core, rbac = "v1", "rbac.authorization.k8s.io/v1"
    policy: Json = {"podSelector": {}, "policyTypes": ["Ingress"]}
    there = [
        namespace("somebody"),
        namespace("almost", **{MANAGED_BY: "helm", TENANT_LABEL.replace("bulkhead", "other"): "agents"}),
        made("scheduling.k8s.io/v1", "PriorityClass", "bulkhead-somebody", value=5),
        made("node.k8s.io/v1", "RuntimeClass", "kata", handler="kata"),
    ]
    for home in ("somebody", "cautious"):
        there += [
            made(core, "ConfigMap", "settings", home, data={"key": "value"}),
            made(core, "LimitRange", "theirs", home, spec={"limits": [{"type": "Pod", "max": {"cpu": "9"}}]}),
            made(rbac, "Role", "theirs", home, rules=[]),
            made("networking.k8s.io/v1", "NetworkPolicy", "theirs", home, spec=policy),
        ]
    return there


def made(version: str, kind: str, name: str, home: str = "", **content: Any) -> Json:
    meta = {"name": name, "labels": {MANAGED_BY: "helm"}, **({"namespace": home} if home else {})}
    return {"apiVersion": version, "kind": kind, "metadata": meta, **content}


def test_pruning_touches_nothing_of_others(server: Server) -> None:
    must_apply(server, MODEL)
    foreign = foreign_objects()
    before = [server.create(one)["metadata"]["resourceVersion"] for one in foreign]
    assert len(foreign) == 12
    model = without(MODEL, "agents")
    told = server.plan(model)
    assert "tenant agents is deleted with its quota, policies and rights" in told.out
    assert "- Namespace agents (delete)" in told.out
    must_apply(server, model)
    after = [must(server.get({"kind": one["kind"], **one})).body["metadata"] for one in foreign]
    assert [one["resourceVersion"] for one in after] == before
    assert not [one for one in after if "deletionTimestamp" in one]
    wait_until("the namespace is gone with what it held", lambda: not left_of(server, "agents") or None)
    assert server.plan(model).status == 0
    for one in foreign[2:4]:
        server.admin.delete(f"{path_of(one)}")


def left_of(server: Server, tenant: str) -> set[str]:
    return {
        name
        for name in server.names()
        if f" {tenant}/" in name or name == f"PriorityClass /bulkhead-{tenant}"
    }


def path_of(one: Json) -> str:
    group = (
        "scheduling.k8s.io/v1/priorityclasses"
        if one["kind"] == "PriorityClass"
        else "node.k8s.io/v1/runtimeclasses"
    )
    return f"/apis/{group}/{one['metadata']['name']}"


def test_without_prune_nothing_is_deleted(server: Server) -> None:
    must_apply(server, MODEL)
    before = server.names()
    must_apply(server, without(MODEL, "agents"), "--prune=false")
    assert server.names() == before
    assert server.plan(without(MODEL, "agents")).status == 1, "it is still to be done"


def test_a_namespace_that_holds_pods_stays_with_its_fences(server: Server) -> None:
    must_apply(server, MODEL)
    server.pod("cautious", "busy", runtimeClassName="bulkhead")
    model = without(MODEL, "cautious")
    assert (
        "tenant cautious is deleted with its quota, policies and rights; 1 running pod left without a tenant"
        in (server.plan(model).out)
    )
    refused = server.apply(model)
    assert refused.status == 1
    kept = {step["ref"]["kind"]: step["detail"] for step in steps(refused) if step["outcome"] == "kept"}  # type: ignore[index]
    assert kept["Namespace"] == "namespace cautious holds 1 pod; empty it, or add --delete-namespaces"
    assert {"NetworkPolicy", "LimitRange"} <= kept.keys(), "a pod that stays keeps its fences"
    assert "deletionTimestamp" not in must(server.admin.get("/api/v1/namespaces/cautious")).body["metadata"]
    assert server.apply(model, "--delete-namespaces").status == 0


def test_a_namespace_from_before_us_is_released_and_not_deleted(server: Server) -> None:
    must_apply(server, without(MODEL, "cautious"))
    server.create(namespace("cautious", team="x"))
    must_apply(server, MODEL)
    labels = must(server.admin.get("/api/v1/namespaces/cautious")).body["metadata"]["labels"]
    assert labels[MANAGED_BY] == OWNER
    assert "Namespace cautious (released, it stays)" in server.plan(without(MODEL, "cautious")).out
    must_apply(server, without(MODEL, "cautious"))
    left = must(server.admin.get("/api/v1/namespaces/cautious")).body["metadata"]
    assert "deletionTimestamp" not in left
    assert left["labels"]["team"] == "x"
    assert MANAGED_BY not in left["labels"]
    assert server.plan(without(MODEL, "cautious")).status == 0


def test_a_field_of_another_manager_is_named_and_only_force_takes_it(server: Server) -> None:
    must_apply(server, MODEL)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "bulkhead", "namespace": "agents"},
             "spec": {"hard": {"requests.memory": "1Gi"}}}  # fmt: skip
    path = "/api/v1/namespaces/agents/resourcequotas/bulkhead?fieldManager=autoscaler&force=true"
    must(server.admin.call("PATCH", path, quota, APPLY))
    planned = server.plan(MODEL)
    assert planned.status == 1
    assert "ResourceQuota agents/bulkhead: spec.hard.requests.memory belongs to autoscaler" in planned.out
    model = changed(without(MODEL, "cautious"), "platform", priority_ceiling=3)
    refused = server.apply(model)
    assert refused.status == 1
    [conflict] = [step for step in steps(refused) if step["outcome"] == "conflict"]
    assert "belongs to autoscaler" in str(conflict["detail"])
    assert "--force-conflicts" in str(conflict["detail"])
    assert "Namespace /cautious" in server.names(), "after a conflict nothing is deleted"
    must_apply(server, model, "--force-conflicts")
    assert server.plan(model).status == 0
    hard = must(server.admin.get("/api/v1/namespaces/agents/resourcequotas/bulkhead")).body["spec"]["hard"]
    assert hard["requests.memory"] != "1Gi"


def test_rights_that_lack_are_named(server: Server) -> None:
    refused = server.plan(MODEL, user="weak")
    assert refused.status == 1
    assert 'User "weak" cannot list resource' in refused.err
    assert "ask a cluster administrator" in refused.err
    assert "Traceback" not in refused.err


def test_a_reader_can_see_objects_but_not_apply(server: Server) -> None:
    rbac = "rbac.authorization.k8s.io"
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}
    role = {
        "apiVersion": f"{rbac}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "see-all"},
        "rules": [rule],
    }
    binding = {"apiVersion": f"{rbac}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "see-all"},
               "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "see-all"},
               "subjects": [{"apiGroup": rbac, "kind": "User", "name": "reader"}]}  # fmt: skip
    try:
        for one in (role, binding):
            server.create(one)
        refused = server.apply(MODEL, user="reader")
        assert refused.status == 1
        assert "reader" in refused.err
        assert "cannot patch" in refused.err
    finally:
        for plural in ("clusterrolebindings", "clusterroles"):
            server.admin.delete(f"/apis/{rbac}/v1/{plural}/see-all")


def test_a_server_that_is_not_there_is_said_in_one_line(server: Server) -> None:
    config = server.directory / "nowhere"
    config.write_text(server.plane.kubeconfig().read_text().replace(str(server.plane.port), "1"))
    ran = server.run("plan", MODEL, "--context", "test", "--kubeconfig", config)
    assert ran.status == 1
    assert len(ran.err.splitlines()) == 1
    assert "does not answer" in ran.err
