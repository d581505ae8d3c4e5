"""The verbs, as kube-scheduler speaks them: recorded bodies, every spelling and every null it may send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

import pytest

from benchmarks.extender.embedded import EmbeddedCluster, plain_nodes
from scheduler.extender import wire
from scheduler.extender.errors import BadBody
from scheduler.extender.http import Request, Response
from scheduler.extender.verbs import Verbs
from tests.support.extender import NAMES, asking, body, pod, recorded


def make(names: list[str] | None = None, candidates: int = 1) -> tuple[Verbs, EmbeddedCluster]:
    cluster = EmbeddedCluster(plain_nodes(names or NAMES))
    return Verbs(cluster, candidates), cluster


def ask(verbs: Verbs, verb: str, content: bytes) -> Any:
    answer: Response | Awaitable[Response] = getattr(verbs, verb)(Request("POST", f"/{verb}", "", content))

    async def wait(pending: Awaitable[Response]) -> Response:
        return await pending

    done = answer if isinstance(answer, Response) else asyncio.run(wait(answer))
    assert done.status == 200
    return json.loads(done.body)


@pytest.mark.parametrize("tag", ["cache", "n1000", "n5000"])
def test_a_recorded_pod_goes_through_filter_prioritize_and_bind(tag: str) -> None:
    named = json.loads(recorded("filter", tag))["NodeNames"]
    verbs, _ = make(named)
    result = ask(verbs, "filter", recorded("filter", tag))
    assert list(result) == ["Nodes", "NodeNames", "FailedNodes", "FailedAndUnresolvableNodes", "Error"]
    assert (result["Nodes"], result["Error"]) == (None, "")
    assert len(result["NodeNames"]) == 1
    scores = ask(verbs, "prioritize", recorded("prioritize", tag))
    assert [score["Score"] for score in scores] == list(range(10, 0, -1))
    assert scores[0]["Host"] == result["NodeNames"][0]
    assert {score["Host"] for score in scores} <= set(named)
    binding = json.loads(recorded("bind", tag)) | {"Node": result["NodeNames"][0]}
    assert ask(verbs, "bind", json.dumps(binding).encode()) == {"Error": ""}


@pytest.mark.parametrize("tag", ["cache", "n1000", "n5000"])
def test_recorded_candidates_of_preemption_come_back_as_meta_victims(tag: str) -> None:
    proposed = json.loads(recorded("preempt", tag))
    assert proposed["NodeNameToVictims"] is None
    answered = ask(make()[0], "preempt", recorded("preempt", tag))
    assert answered == {"NodeNameToMetaVictims": proposed["NodeNameToMetaVictims"]}


def test_nodes_in_place_of_names_are_refused_with_the_reason() -> None:
    verbs, _ = make()
    result = ask(verbs, "filter", recorded("filter", "nocache"))
    assert "nodeCacheCapable: true" in result["Error"]
    assert "without their pods" in result["Error"]
    assert result["NodeNames"] is None
    assert ask(verbs, "prioritize", recorded("filter", "nocache")) == []


def test_more_candidates_are_named_where_another_extender_chooses() -> None:
    result = ask(make(candidates=5)[0], "filter", asking(NAMES))
    scores = ask(make()[0], "prioritize", asking(result["NodeNames"]))
    assert [score["Host"] for score in scores] == result["NodeNames"]
    assert [score["Score"] for score in scores] == [10, 9, 8, 7, 6]


def test_a_pod_that_fits_nowhere_is_told_the_reason_of_every_node() -> None:
    result = ask(make()[0], "filter", asking([*NAMES, "unheard-of"], cpu="500"))
    assert result["NodeNames"] == []
    assert result["FailedNodes"] == dict.fromkeys(NAMES, "InsufficientCPU")
    assert result["FailedAndUnresolvableNodes"] == {"unheard-of": "NodeGone"}


@pytest.mark.parametrize("names", [None, []])
def test_no_names_are_no_nodes(names: list[str] | None) -> None:
    verbs, _ = make()
    assert ask(verbs, "filter", asking(names))["NodeNames"] == []
    assert ask(verbs, "prioritize", asking(names)) == []


def test_a_pod_is_asked_about_again_and_again_and_bound_twice() -> None:
    verbs, cluster = make()
    first = ask(verbs, "filter", asking(NAMES))
    assert all(ask(verbs, "filter", asking(NAMES)) == first for _ in range(3))
    node = first["NodeNames"][0]
    assert ask(verbs, "filter", asking([node]))["NodeNames"] == [node]
    bind = body(PodName="p", PodNamespace="n", PodUID="uid", Node=node)
    assert ask(verbs, "bind", bind) == ask(verbs, "bind", bind) == {"Error": ""}
    assert list(cluster.cycle.state.pods) == ["uid"]
    assert ask(verbs, "filter", asking(NAMES))["NodeNames"] == [node]


def test_keys_are_read_in_any_case_and_unknown_ones_ignored() -> None:
    verbs, _ = make()
    usual = ask(verbs, "filter", asking(NAMES))
    odd = body(pod=pod(), NODENAMES=NAMES, Nodes=None, extra={"a": [1]})
    assert ask(verbs, "filter", odd) == usual
    lower = body(
        pod=pod(),
        nodenametovictims=None,
        nodenametometavictims={"node-00001": {"pods": [{"uid": "v", "x": 1}], "numpdbviolations": 2}},
    )
    assert ask(verbs, "preempt", lower) == {
        "NodeNameToMetaVictims": {"node-00001": {"Pods": [{"UID": "v"}], "NumPDBViolations": 2}}
    }
    assert ask(verbs, "bind", body(podname="p", podNamespace="n", poduid="u", node="node-00001")) == {
        "Error": ""
    }


def test_whole_victims_are_answered_by_their_uids() -> None:
    full = {"node-00001": {"Pods": [pod("a"), pod("b")], "NumPDBViolations": 1}}
    answered = ask(make()[0], "preempt", body(Pod=pod(), NodeNameToVictims=full, NodeNameToMetaVictims=None))
    assert answered["NodeNameToMetaVictims"]["node-00001"]["Pods"] == [{"UID": "a"}, {"UID": "b"}]


@pytest.mark.parametrize(
    "none", [{"Pods": None, "NumPDBViolations": 0}, {"Pods": [], "NumPDBViolations": 0}, None]
)
def test_a_candidate_without_victims_is_taken_and_not_answered(none: Any) -> None:
    candidates = {"node-00001": none, "node-00002": {"Pods": [{"UID": "v"}], "NumPDBViolations": 0}}
    answered = ask(
        make()[0], "preempt", body(Pod=pod(), NodeNameToVictims=None, NodeNameToMetaVictims=candidates)
    )
    assert list(answered["NodeNameToMetaVictims"]) == ["node-00002"]


def test_what_is_not_known_yet_is_decided_by_nobody() -> None:
    verbs, cluster = make()
    cluster.why = "nodes are still being listed"
    assert ask(verbs, "filter", asking(NAMES))["Error"] == cluster.why
    assert ask(verbs, "filter", asking(NAMES))["NodeNames"] is None
    assert ask(verbs, "prioritize", asking(NAMES)) == []
    assert ask(verbs, "preempt", recorded("preempt")) == {"NodeNameToMetaVictims": {}}
    assert ask(verbs, "bind", recorded("bind")) == {"Error": cluster.why}
    ready = verbs.readyz(Request("GET", "/readyz", "", b""))
    assert (ready.status, json.loads(ready.body)) == (503, {"Error": cluster.why})
    assert verbs.healthz(Request("GET", "/healthz", "", b"")).status == 200


def test_a_replica_that_leaves_is_not_ready_and_still_answers() -> None:
    verbs, _ = make()
    verbs.leave("draining")
    assert verbs.readyz(Request("GET", "/readyz", "", b"")).status == 503
    assert len(ask(verbs, "filter", asking(NAMES))["NodeNames"]) == 1


def test_a_pod_that_cannot_be_read_is_an_error_with_the_reason() -> None:
    result = ask(make()[0], "filter", asking(NAMES, cpu="much"))
    assert "much" in result["Error"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"Pod":null,"Nodes":null,"NodeNames":null}',
        b'{"Nodes":null,"NodeNames":["a"]}',
        b'{"Pod":{"metadata":{"name":"x"}},"Nodes":null,"NodeNames":[1]}',
        b'{"Pod":{"metadata":{"name":"\xff"}},"Nodes":null,"NodeNames":[]}',
        b"[" * 200_000,
        b'{"Pod":' * 200_000,
        b'{"x":' + b'{"a":' * 200_000,
    ],
)
def test_junk_is_a_bad_body(content: bytes) -> None:
    with pytest.raises(BadBody):
        wire.filter_args.read(content)


def test_a_violation_count_beyond_64_bits_is_a_bad_body() -> None:
    victims = {"n": {"Pods": [], "NumPDBViolations": 2**63}}
    with pytest.raises(BadBody):
        wire.preemption_args.read(body(Pod=pod(), NodeNameToVictims=None, NodeNameToMetaVictims=victims))


def test_the_reason_of_a_bad_body_quotes_nothing_of_it() -> None:
    with pytest.raises(BadBody) as bad:
        wire.filter_args.read(body(Pod=pod(), Nodes=None, NodeNames=[{"secret": "hunter2"}]))
    assert "hunter2" not in str(bad.value)
