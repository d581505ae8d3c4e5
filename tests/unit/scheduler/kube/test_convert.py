"""Pods as the API server writes them, against the shapes and charges that follow."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scheduler.kube.convert import charge_of, node_of, pod_requests, seconds_of, shape_of
from scheduler.kube.objects import NodeObject, PodObject
from scheduler.model import CPU, MEMORY, Requirement
from tenants.model import RuntimeClass

CLASS = RuntimeClass(name="bulkhead", handler="bulkhead", overhead_cpu_milli=100, overhead_memory_mib=128)


def pod(spec: dict[str, Any], **metadata: Any) -> PodObject:
    manifest = {"metadata": {"name": "p", "namespace": "n", "uid": "u", **metadata}, "spec": spec}
    return msgspec.json.decode(msgspec.json.encode(manifest), type=PodObject)


def asks(**requests: str) -> dict[str, Any]:
    return {"resources": {"requests": requests}}


REQUESTS = [
    pytest.param({"containers": [asks(cpu="1"), asks(cpu="500m")]}, {"cpu": 1500}, id="containers add up"),
    pytest.param(
        {"containers": [{"resources": {"limits": {"cpu": "2"}}}]}, {"cpu": 2000}, id="a limit alone"
    ),
    pytest.param(
        {"containers": [asks(cpu="1")], "initContainers": [asks(cpu="3")]},
        {"cpu": 3000},
        id="a larger init step",
    ),
    pytest.param(
        {
            "containers": [asks(cpu="1")],
            "initContainers": [{**asks(cpu="1"), "restartPolicy": "Always"}, asks(cpu="2")],
        },
        {"cpu": 3000},
        id="an init step beside a sidecar",
    ),
    pytest.param(
        {"containers": [asks(cpu="1", memory="1Gi")], "resources": {"requests": {"cpu": "4"}}},
        {"cpu": 4000, "memory": 1024},
        id="the pod as a whole states CPU",
    ),
    pytest.param({"containers": []}, {}, id="nothing"),
]


@pytest.mark.parametrize(("spec", "want"), REQUESTS)
def test_a_pod_asks_for_what_kube_scheduler_counts(spec: dict[str, Any], want: dict[str, int]) -> None:
    assert pod_requests(pod(spec).spec) == want


def test_equal_pods_written_in_another_order_have_one_shape() -> None:
    one = pod({"containers": [asks(cpu="1", memory="1Gi")], "nodeSelector": {"a": "1", "b": "2"}})
    other = pod({"nodeSelector": {"b": "2", "a": "1"}, "containers": [asks(memory="1024Mi", cpu="1000m")]})
    assert shape_of(one, "t") == shape_of(other, "t")
    assert hash(shape_of(one, "t")) == hash(shape_of(other, "t"))
    assert dict(shape_of(one, "t").requests) == {CPU: 1000, MEMORY: 1024}


def test_match_fields_select_the_node_by_its_name() -> None:
    name = {"key": "metadata.name", "operator": "In", "values": ["n2", "n1"]}
    required = {"nodeSelectorTerms": [{"matchFields": [name]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    found = shape_of(pod({"affinity": affinity}), "t").affinity
    assert found == ((Requirement("metadata.name", "In", ("n1", "n2")),),)


def test_a_charge_counts_the_overhead_written_into_the_pod_before_that_of_the_class() -> None:
    spec = {"containers": [asks(cpu="1", memory="1Gi")], "runtimeClassName": "bulkhead", "priority": 7}
    owners = [{"kind": "Job", "name": "j", "uid": "job", "controller": True}]
    born = {"creationTimestamp": "2026-01-01T00:00:00Z", "ownerReferences": owners}
    by_class = charge_of(pod(spec, **born), "t", "default", CLASS)
    assert dict(by_class.amounts) == {"cpu": 1100, "memory": 1152, "pods": 1, "sandboxes": 1}
    assert (by_class.application, by_class.priority, by_class.born) == ("job", 7, 1767225600)
    written = charge_of(pod({**spec, "overhead": {"memory": "64Mi"}}), "t", "default", CLASS)
    assert dict(written.amounts) == {"cpu": 1000, "memory": 1088, "pods": 1, "sandboxes": 1}


def test_a_node_offers_whole_mebibytes_that_it_really_has() -> None:
    manifest = {"metadata": {"name": "n"}, "status": {"allocatable": {"memory": "1025Ki", "cpu": "3920m"}}}
    node = node_of(msgspec.json.decode(msgspec.json.encode(manifest), type=NodeObject))
    assert dict(node.allocatable) == {CPU: 3920, MEMORY: 1}


@pytest.mark.parametrize("text", [None, "", "yesterday", "9999-99-99T00:00:00Z"])
def test_a_time_that_cannot_be_read_is_zero(text: str | None) -> None:
    assert seconds_of(text) == 0.0
