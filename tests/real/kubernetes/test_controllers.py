"""The escape table through controllers: what counts is the pod, never the template, so the workload is taken and
its pod never comes; the workload's own condition or event says which rule refused it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from tests.real.kubernetes.world import TRUSTED, UNTRUSTED, World, must
from tests.support.escapes import ESCAPES, Escape, Json, escaping, plain_pod
from tests.support.kubernetes import Api, wait_until

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("kubernetes")]

KINDS: Final = ("Deployment", "Job", "StatefulSet")
PLAIN: Final = Escape("plain", "")


def workload(kind: str, escape: Escape) -> Json:
    """A workload of one pod with the escape in its template."""
    name = f"{escape.name}-{kind.lower()}"
    pod = escaping(escape, plain_pod(""))
    labels = {"workload": name}
    template = {"metadata": {"labels": labels, "annotations": dict(escape.annotations)}, "spec": pod["spec"]}
    spec: Json = {"template": template}
    if kind == "Job":
        pod["spec"]["restartPolicy"] = "Never"
    else:
        spec["selector"] = {"matchLabels": labels}
    if kind == "StatefulSet":
        spec["serviceName"] = name
    version = "batch/v1" if kind == "Job" else "apps/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def pods_of(world: World, namespace: str, name: str) -> list[Json]:
    path = f"/api/v1/namespaces/{namespace}/pods?labelSelector=workload%3D{name}"
    found: list[Json] = must(world.admin.get(path)).body["items"]
    return found


def complaint(world: World, kind: str, name: str) -> str | None:
    """Why no pod comes: the ReplicaSet's condition, which the Deployment repeats, or the FailedCreate event."""
    if kind == "Deployment":
        path = f"/apis/apps/v1/namespaces/{UNTRUSTED}/deployments/{name}"
        conditions = must(world.ada.get(path)).body.get("status", {}).get("conditions", [])
        said = [c["message"] for c in conditions if c["type"] == "ReplicaFailure"]
    else:
        query = f"involvedObject.name%3D{name},reason%3DFailedCreate"
        path = f"/api/v1/namespaces/{UNTRUSTED}/events?fieldSelector={query}"
        said = [event["message"] for event in must(world.ada.get(path)).body["items"]]
    return said[0] if said else None


@pytest.fixture(scope="module")
def refused(world: World) -> None:
    """Every row as every kind, made by a tenant's user at once, so that the controllers work in parallel."""
    _create_all(world.ada, UNTRUSTED, KINDS)


@pytest.fixture(scope="module")
def taken(world: World) -> None:
    """The same by the trusted tenant."""
    _create_all(world.grace, TRUSTED, KINDS)


def _create_all(who: Api, namespace: str, kinds: tuple[str, ...]) -> None:
    for escape in (PLAIN, *ESCAPES):
        for kind in kinds:
            must(who.create(workload(kind, escape), namespace))


every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.usefixtures("refused")
@every_kind
@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape.name)
def test_no_controller_makes_the_pod(world: World, kind: str, escape: Escape) -> None:
    name = f"{escape.name}-{kind.lower()}"
    said = wait_until(f"{name} complains", lambda: complaint(world, kind, name))
    assert f"bulkhead: {escape.rule}: " in said
    assert pods_of(world, UNTRUSTED, name) == []


@pytest.mark.usefixtures("refused")
@every_kind
def test_a_plain_workload_gets_its_pod_in_a_sandbox(world: World, kind: str) -> None:
    name = f"plain-{kind.lower()}"
    [pod] = wait_until(f"a pod of {name}", lambda: pods_of(world, UNTRUSTED, name) or None)
    assert pod["spec"]["runtimeClassName"] == "bulkhead"
    assert complaint(world, kind, name) is None


@pytest.mark.usefixtures("taken")
@every_kind
@pytest.mark.parametrize("escape", [PLAIN, *(e for e in ESCAPES if not e.trusted_rule)], ids=lambda e: e.name)
def test_a_trusted_tenant_gets_its_pods(world: World, kind: str, escape: Escape) -> None:
    name = f"{escape.name}-{kind.lower()}"
    [pod] = wait_until(f"a pod of {name}", lambda: pods_of(world, TRUSTED, name) or None)
    assert pod["spec"].get("runtimeClassName") == escape.spec.get("runtimeClassName")


@pytest.fixture
def node(world: World) -> Iterator[str]:
    must(world.admin.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-9"}}))
    must(
        world.admin.merge("/api/v1/nodes/node-9", {"spec": {"taints": []}})
    )  # not-ready until a kubelet reports
    yield "node-9"
    must(world.admin.delete("/api/v1/nodes/node-9"))


def test_what_a_daemon_set_tolerates_of_its_own_accord_is_no_escape(world: World, node: str) -> None:
    daemons = workload("StatefulSet", Escape("daemon", ""))
    daemons["kind"] = "DaemonSet"
    del daemons["spec"]["serviceName"]
    must(world.ada.create(daemons, UNTRUSTED))
    [pod] = wait_until("the daemon's pod", lambda: pods_of(world, UNTRUSTED, "daemon-statefulset") or None)
    tolerated = {toleration.get("key") for toleration in pod["spec"]["tolerations"]}
    assert "node.kubernetes.io/unschedulable" in tolerated
    assert node in str(pod["spec"]["affinity"])
