"""kill -9 at many points of an apply: nothing is open meanwhile, and the next apply gets there."""

from __future__ import annotations

import signal
import time

import msgspec
import pytest

from tenants.model import Allowance, Dimension, Network, TenantSet
from tests.real.live.models import MODEL, changed, without
from tests.real.live.server import Server, must, must_apply
from tests.support.command import steps
from tests.support.kubernetes import wait_until

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("live")]

BIGGER = {**MODEL.tenants["platform"].quota, Dimension("default", "pods"): Allowance(max=500)}
OTHER = changed(without(MODEL, "agents"), "platform", quota=BIGGER, priority_ceiling=7)
OTHER = changed(OTHER, "cautious", network=Network(isolate=True))
POINTS = (0, 0, 1, 2, 2, 4, 3, 7, 4, 10, 5, 13)  # lines reported before the kill; odd places make MODEL again


@pytest.mark.timeout(600)
def test_killed_at_any_point_the_next_apply_converges(server: Server) -> None:
    must_apply(server, MODEL)
    models, cut_short = (OTHER, MODEL), 0
    for number, point in enumerate(POINTS):
        model = models[number % 2]
        wait_until("no namespace is on its way out", lambda: not leaving(server) or None)
        cut_short += killed(server, model, after_lines=point, milliseconds=number % 4)
        assert_no_open_namespace(server)
        interrupted = server.plan(model, "--format", "json")
        assert not interrupted.err, interrupted.err
        wait_until("no namespace is on its way out", lambda: not leaving(server) or None)
        must_apply(server, model, "--delete-namespaces")
        left = msgspec.json.decode(server.plan(model, "--format", "json").out)
        assert left["empty"], (point, left["changes"])
    assert cut_short >= len(POINTS) - 3, "the kills came too late to prove anything"


def leaving(server: Server) -> list[str]:
    found = must(server.admin.get("/api/v1/namespaces")).body["items"]
    return [one["metadata"]["name"] for one in found if "deletionTimestamp" in one["metadata"]]


def test_a_namespace_that_is_still_being_deleted_is_waited_for(server: Server) -> None:
    must_apply(server, MODEL)
    pod = server.pod("cautious", "slow", runtimeClassName="bulkhead")
    path = f"/api/v1/namespaces/cautious/pods/{pod['metadata']['name']}"
    must(server.admin.merge(path, {"metadata": {"finalizers": ["test.example/hold"]}}))
    must_apply(server, without(MODEL, "cautious"), "--delete-namespaces")
    try:
        refused = server.apply(MODEL)
        assert refused.status == 1
        assert "namespace cautious is still being deleted; wait until it is gone" in refused.err
    finally:
        must(server.admin.merge(path, {"metadata": {"finalizers": None}}))
    wait_until("the namespace is gone", lambda: not leaving(server) or None)
    must_apply(server, MODEL)
    assert server.plan(MODEL).status == 0


def killed(server: Server, model: TenantSet, *, after_lines: int, milliseconds: int) -> bool:
    """SIGKILL once so many steps were reported; whether it was before the end."""
    process = server.start(model, "--delete-namespaces")
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        for _ in range(after_lines):
            if not process.stdout.readline():
                break
        time.sleep(milliseconds / 1000)
        process.kill()
        process.stdout.read()
    return process.wait(20) == -signal.SIGKILL


def assert_no_open_namespace(server: Server) -> None:
    """Every namespace that takes pods has its fences."""
    for one in must(server.admin.get("/api/v1/namespaces?labelSelector=bulkhead.dev/ready%3Dtrue")).body[
        "items"
    ]:
        name = one["metadata"]["name"]
        policies = must(
            server.admin.get(f"/apis/networking.k8s.io/v1/namespaces/{name}/networkpolicies")
        ).body
        if "deletionTimestamp" not in one["metadata"]:
            assert policies["items"], f"namespace {name} is ready and has no NetworkPolicy"


def test_an_interrupted_first_apply_still_tells_its_effects(server: Server) -> None:
    assert killed(server, MODEL, after_lines=6, milliseconds=0)
    plan = msgspec.json.decode(server.plan(MODEL, "--format", "json").out)
    assert any("tenant agents is new" in effect["text"] for effect in plan["effects"])
    assert not any(change["action"] == "delete" for change in plan["changes"])
    assert steps(server.apply(MODEL))
