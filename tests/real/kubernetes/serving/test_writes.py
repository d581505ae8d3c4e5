"""The few writes of the serving loop against a real API server: each hits the pod that was meant or nothing."""

from __future__ import annotations

import pytest

from scheduler.kube.connection import Connection
from scheduler.kube.events import About, Events
from scheduler.kube.writes import Outcome, Writes
from tests.support.kubernetes import ControlPlane, wait_until
from tests.support.serving_client import GATE, bound, created, gated, run

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("serving")]
NOBODY = "00000000-0000-4000-8000-000000000000"


def test_a_bind_hits_the_pod_that_was_meant_or_nothing(plane: ControlPlane, namespace: str) -> None:
    api = plane.api()
    old = created(api, gated("p"), namespace)
    assert api.delete(f"/api/v1/namespaces/{namespace}/pods/p").ok
    pod = created(api, gated("p"), namespace)

    async def client(connection: Connection) -> None:
        writes = Writes(connection)
        assert (
            await writes.bind(namespace, "p", pod.metadata.uid, "node-00001")
        ).outcome is Outcome.CONFLICT, "gated"
        assert (await writes.open_gate(old, GATE)).outcome is Outcome.CONFLICT
        assert (await writes.open_gate(pod, GATE)).ok
        assert (await writes.bind(namespace, "p", old.metadata.uid, "node-00001")).outcome is Outcome.CONFLICT
        assert (await writes.bind(namespace, "p", pod.metadata.uid, "node-00001")).ok
        assert (await writes.bind(namespace, "p", pod.metadata.uid, "node-00001")).ok, "a repetition is done"
        assert (await writes.bind(namespace, "p", pod.metadata.uid, "node-00002")).outcome is Outcome.CONFLICT
        assert (await writes.bind(namespace, "none", NOBODY, "node-00002")).outcome is Outcome.GONE

    run(plane, client)
    found = api.get(f"/api/v1/namespaces/{namespace}/pods/p").body
    assert found["spec"]["nodeName"] == "node-00001"


def test_a_gate_opens_towards_candidates_and_keeps_what_the_pod_said(
    plane: ControlPlane, namespace: str
) -> None:
    api = plane.api()
    free = created(api, gated("free"), namespace)
    picky = gated("picky")
    zone = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["zone-1"]}
    preferred = [{"weight": 1, "preference": {"matchExpressions": [zone]}}]
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    picky["spec"]["affinity"] = {
        "nodeAffinity": {
            required: {"nodeSelectorTerms": [{"matchExpressions": [zone]}]},
            "preferredDuringSchedulingIgnoredDuringExecution": preferred,
        }
    }
    picky["spec"]["schedulingGates"].append({"name": "other.dev/gate"})
    chooser = created(api, picky, namespace)

    async def client(connection: Connection) -> None:
        writes = Writes(connection)
        assert (await writes.open_gate(free, GATE, ("node-00003", "node-00001"))).ok
        answer = await writes.open_gate(chooser, GATE, ("node-00003", "node-00001"))
        assert answer.ok, answer
        assert (await writes.nominate(chooser, "node-00003")).ok

    run(plane, client)
    affinity = api.get(f"/api/v1/namespaces/{namespace}/pods/free").body["spec"]["affinity"]["nodeAffinity"]
    terms = affinity[required]["nodeSelectorTerms"]
    assert [term["matchFields"][0]["values"] for term in terms] == [["node-00003"], ["node-00001"]]
    found = api.get(f"/api/v1/namespaces/{namespace}/pods/picky").body
    assert found["spec"]["schedulingGates"] == [{"name": "other.dev/gate"}]
    assert found["status"]["nominatedNodeName"] == "node-00003"
    (term,) = found["spec"]["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [zone]
    assert term["matchFields"][0]["values"] == ["node-00003"]
    assert (
        found["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        == preferred
    )


def test_a_disruption_budget_refuses_an_eviction(plane: ControlPlane, namespace: str) -> None:
    api = plane.api()
    pod = created(api, bound("guarded"), namespace)
    ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    assert api.merge(f"/api/v1/namespaces/{namespace}/pods/guarded/status", ready).ok
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "all"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": pod.metadata.labels}},
    }
    made = api.create(budget, namespace)
    assert made.ok, made.message
    path = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/all"
    counted = {"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1}
    assert api.merge(f"{path}/status", {"status": {**counted, "expectedPods": 1}}).ok

    async def client(connection: Connection) -> None:
        writes = Writes(connection)
        refused = await writes.evict(namespace, "guarded", pod.metadata.uid)
        assert refused.outcome is Outcome.BUDGET, refused
        assert (await writes.evict(namespace, "guarded", NOBODY)).outcome in (
            Outcome.CONFLICT,
            Outcome.BUDGET,
        )
        assert api.delete(path).ok
        wait_until("the budget is gone", lambda: api.get(path).status == 404 or None)
        assert (await writes.evict(namespace, "guarded", NOBODY)).outcome is Outcome.CONFLICT
        assert (await writes.evict(namespace, "guarded", pod.metadata.uid, dry_run=True)).ok
        assert api.get(f"/api/v1/namespaces/{namespace}/pods/guarded").ok, "a dry run ends nothing"
        assert (await writes.evict(namespace, "guarded", pod.metadata.uid, grace_s=0)).ok
        assert (await writes.evict(namespace, "guarded", pod.metadata.uid)).outcome is Outcome.GONE

    run(plane, client)


def test_conditions_and_events_tell_a_story_once(plane: ControlPlane, namespace: str) -> None:
    api = plane.api()
    pod = created(api, gated("waits"), namespace)
    now = [1_800_000_000.0]

    async def client(connection: Connection) -> None:
        writes = Writes(connection)
        for reason in ("WaitingForQuota", "WaitingForGroup"):
            done = await writes.set_condition(
                pod, "bulkhead.dev/Admitted", "False", reason, "x" * 9000, "2026-01-01T00:00:00Z"
            )
            assert done.ok, done
        events = Events(connection, lambda: now[0], "replica-1")
        about = About(namespace, "waits", pod.metadata.uid)
        for _ in range(5):
            assert (await events.post(about, "WaitingForQuota", "tenant agents 64/64 guaranteed " * 99)).ok
            now[0] += 40
        assert (await events.post(about, "Guided", "to node-00001")).ok

    run(plane, client)
    conditions = api.get(f"/api/v1/namespaces/{namespace}/pods/waits").body["status"]["conditions"]
    assert [found["reason"] for found in conditions if found["type"] == "bulkhead.dev/Admitted"] == [
        "WaitingForGroup"
    ]
    assert any(found["type"] == "PodScheduled" for found in conditions), "the others stay"
    items = api.get(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events").body["items"]
    told = {found["reason"]: (found.get("series") or {}).get("count", 1) for found in items}
    assert told == {"WaitingForQuota": 5, "Guided": 1}
