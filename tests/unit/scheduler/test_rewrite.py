"""A gated pod goes back to the API server as it came, but for what opens it."""

from __future__ import annotations

from scheduler.kube import protobuf, rewrite
from scheduler.kube.readers import unwrapped
from scheduler.kube.wire import messages
from scheduler.mirror.record import GATE

UNKNOWN = b"\x9a\x06\x05whole"  # field 99 of a spec, which no message here declares


def pod(*gates: str, affinity: bool = False, operation: str = "Update") -> bytes:
    found = messages["Pod"]()
    found.metadata.name, found.metadata.namespace = "p", "agents"
    found.metadata.uid, found.metadata.version = "uid-1", "17"
    manager = messages["Manager"](operation=operation).SerializeToString()
    found.metadata.managed.append(b"\x0a\x07kubectl" + manager)
    found.spec.MergeFromString(UNKNOWN)
    found.spec.gates.extend(messages["Gate"](name=name).SerializeToString() for name in gates)
    if affinity:
        found.spec.affinity = messages["Affinity"]().SerializeToString()
    found.status.phase = "Pending"
    return bytes(found.SerializeToString())


def test_the_gate_goes_and_the_rest_stays() -> None:
    body = rewrite.opened(pod("other", GATE), GATE)
    assert body is not None
    raw = unwrapped(body)
    found = protobuf.pod(raw)
    assert [gate.name for gate in found.spec.scheduling_gates] == ["other"]
    assert (found.metadata.uid, found.metadata.resource_version) == ("uid-1", "17")
    assert found.spec.affinity is None
    assert UNKNOWN in raw


def test_what_the_server_keeps_by_itself_is_left_out() -> None:
    raw = unwrapped(rewrite.opened(pod(GATE), GATE) or b"")
    assert b"kubectl" not in raw
    assert protobuf.pod(raw).status.phase == ""


def test_an_aimed_pod_may_stand_on_one_node() -> None:
    found = protobuf.pod(unwrapped(rewrite.opened(pod(GATE), GATE, "n7") or b""))
    assert found.spec.affinity is not None
    assert found.spec.affinity.node_affinity is not None
    required = found.spec.affinity.node_affinity.required
    assert required is not None
    (term,) = required.node_selector_terms
    (field,) = term.match_fields
    assert (field.key, field.operator, field.values) == ("metadata.name", "In", ("n7",))


def test_an_affinity_of_the_pods_own_is_left_to_a_patch() -> None:
    assert rewrite.opened(pod(GATE, affinity=True), GATE, "n7") is None
    assert rewrite.opened(pod(GATE, affinity=True), GATE) is not None


def test_the_nominated_node_is_written_into_the_status() -> None:
    found = messages["Pod"].FromString(unwrapped(rewrite.nominated(pod(GATE), "n7")))
    assert found.status.nominated == "n7"
    assert found.status.phase == "Pending"


def test_only_a_gated_pod_is_kept_whole() -> None:
    assert protobuf.pod(pod(GATE)).raw == pod(GATE)
    assert protobuf.pod(pod()).raw == b""


def managers(body: bytes | None) -> list[bytes]:
    return list(messages["Pod"].FromString(unwrapped(body or b"")).metadata.managed)


def test_one_empty_entry_drops_the_managed_fields() -> None:
    assert managers(rewrite.opened(pod(GATE), GATE, "n7", untracked=True)) == [b""]
    assert managers(rewrite.opened(pod(GATE), GATE, "n7")) == []


def test_managed_fields_of_a_pod_that_somebody_applied_stay() -> None:
    assert managers(rewrite.opened(pod(GATE, operation="Apply"), GATE, "n7", untracked=True)) == []


def test_a_binding_names_the_pod_by_its_uid_and_the_node() -> None:
    found = messages["Binding"].FromString(unwrapped(rewrite.binding("agents", "p", "uid-1", "n7")))
    assert (found.metadata.namespace, found.metadata.name, found.metadata.uid) == ("agents", "p", "uid-1")
    assert (found.target.version, found.target.kind, found.target.name) == ("v1", "Node", "n7")
