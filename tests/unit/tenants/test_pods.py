"""What a pod takes, as the scheduler counts it."""

from __future__ import annotations

from typing import Any

import pytest

from tenants.model import Dimension, Pool
from tenants.pods import charge, effective_requests, pool_of, read


def container(cpu: str = "", memory: str = "", limit: str = "", **rest: Any) -> dict[str, Any]:
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    limits = {"cpu": limit} if limit else {}
    return {"name": "c", "resources": {"requests": requests, "limits": limits}, **rest}


SIDECAR = {"restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("name", "spec", "want_cpu_milli"),
    [
        ("containers add up", {"containers": [container("1"), container("500m")]}, 1500),
        ("a limit alone is the request", {"containers": [container(limit="2")]}, 2000),
        ("a request wins over its limit", {"containers": [container("1", limit="2")]}, 1000),
        ("the largest init step", {"containers": [container("1")],
                                    "initContainers": [container("3"), container("2")]}, 3000),
        ("a small init step", {"containers": [container("1")], "initContainers": [container("500m")]}, 1000),
        ("a sidecar stays", {"containers": [container("1")], "initContainers": [container("500m", **SIDECAR)]}, 1500),
        ("a step beside a sidecar", {"containers": [container("1")],
                                     "initContainers": [container("1", **SIDECAR), container("4")]}, 5000),
        ("a step before the sidecar", {"containers": [container("1")],
                                       "initContainers": [container("4"), container("1", **SIDECAR)]}, 4000),
        ("overhead comes on top", {"containers": [container("1")], "overhead": {"cpu": "100m"}}, 1100),
        ("pod-level resources replace the sum", {"containers": [container("1")],
                                                 "resources": {"requests": {"cpu": "7"}}}, 7000),
    ],
)  # fmt: skip
def test_effective_requests(name: str, spec: dict[str, Any], want_cpu_milli: int) -> None:
    assert effective_requests(spec)["cpu"] == want_cpu_milli, name


def test_a_charge_is_by_pool_class_and_count() -> None:
    pod = read({"metadata": {"uid": "u", "namespace": "a", "name": "p"},
                "spec": {"runtimeClassName": "bulkhead", "containers": [container("1")]}})  # fmt: skip
    boxes = frozenset({"bulkhead"})
    for dimension, want in (
        (Dimension("default", "cpu"), 1000),
        (Dimension("default", "cpu", "bulkhead"), 1000),
        (Dimension("default", "cpu", "runc"), 0),
        (Dimension("a100", "cpu"), 0),
        (Dimension("default", "pods"), 1),
        (Dimension("default", "sandboxes"), 1),
        (Dimension("default", "memory"), 0),
    ):
        assert charge(pod, dimension, boxes) == want, dimension
    assert charge(pod, Dimension("default", "sandboxes"), frozenset()) == 0


def test_the_pool_that_names_most_labels_wins() -> None:
    pools = {"gpu": Pool(name="gpu", node_labels={"gpu": "yes"}),
             "a100": Pool(name="a100", node_labels={"gpu": "yes", "model": "a100"}),
             "any": Pool(name="any")}  # fmt: skip
    assert pool_of({"gpu": "yes", "model": "a100", "zone": "x"}, pools) == "a100"
    assert pool_of({"gpu": "yes"}, pools) == "gpu"
    assert pool_of({"zone": "x"}, pools) == "default"
