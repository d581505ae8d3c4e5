"""Whatever bytes and structures reach the verbs: an answer of the right shape, no fault of ours, nothing changed."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.extender.embedded import EmbeddedCluster, plain_nodes
from scheduler.extender.errors import BadBody
from scheduler.extender.http import Request, Response
from scheduler.extender.verbs import Verbs
from tests.support.extender import NAMES, recorded

EXAMPLES = int(os.environ.get("BULKHEAD_EXTENDER_EXAMPLES", "60"))
CLUSTER = EmbeddedCluster(plain_nodes(NAMES))
VERBS = Verbs(CLUSTER)
EVERY = st.sampled_from(["filter", "prioritize", "preempt", "bind"])

texts = st.text(max_size=20)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
quantities = (
    st.sampled_from(["1", "500m", "9223372036854775807", "9E", "1e99", "-1", "much", "", "1Ki", "0"]) | texts
)
amounts = st.dictionaries(
    st.sampled_from(["cpu", "memory", "nvidia.com/gpu", "pods", "a/b"]), quantities, max_size=3
)
resources = st.fixed_dictionaries({}, optional={"requests": amounts, "limits": amounts})
containers = st.fixed_dictionaries({}, optional={"resources": resources})
specs = st.fixed_dictionaries(
    {},
    optional={
        "containers": st.lists(containers | junk, max_size=3),
        "initContainers": st.lists(containers, max_size=2),
        "overhead": amounts,
        "nodeSelector": st.dictionaries(texts, texts, max_size=2),
        "tolerations": st.lists(st.fixed_dictionaries({"key": texts, "operator": texts}), max_size=2),
        "topologySpreadConstraints": st.lists(
            st.fixed_dictionaries(
                {
                    "topologyKey": texts,
                    "maxSkew": st.integers(-1, 3),
                    "whenUnsatisfiable": st.just("DoNotSchedule"),
                }
            ),
            max_size=2,
        ),
        "affinity": junk,
    },
)
pods = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({"name": texts, "uid": texts}, optional={"resourceVersion": texts})},
    optional={"spec": specs | junk, "status": junk},
)
names = st.none() | st.lists(st.sampled_from(NAMES) | texts, max_size=8)
victims = st.dictionaries(
    st.sampled_from(NAMES) | texts,
    st.none()
    | st.fixed_dictionaries(
        {
            "Pods": st.none() | st.lists(st.fixed_dictionaries({"UID": texts}), max_size=3),
            "NumPDBViolations": st.integers(),
        }
    ),
    max_size=3,
)
bodies = st.one_of(
    st.fixed_dictionaries({"Pod": pods | junk, "Nodes": st.none() | junk, "NodeNames": names | junk}),
    st.fixed_dictionaries(
        {"Pod": pods, "NodeNameToVictims": st.none() | victims, "NodeNameToMetaVictims": st.none() | victims}
    ),
    st.fixed_dictionaries(
        {"PodName": texts, "PodNamespace": texts, "PodUID": texts, "Node": st.sampled_from(NAMES) | texts}
    ),
    junk,
)


def ask(verb: str, content: bytes) -> Any:
    """The decoded answer, or None for a body that the verb refuses."""
    try:
        answer: Response | Awaitable[Response] = getattr(VERBS, verb)(
            Request("POST", f"/{verb}", "", content)
        )
    except BadBody:
        return None

    async def wait(pending: Awaitable[Response]) -> Response:
        return await pending

    response = answer if isinstance(answer, Response) else asyncio.run(wait(answer))
    assert response.status == 200
    return json.loads(response.body)


def check(verb: str, answer: Any, asked: Any) -> None:
    """The shape that kube-scheduler takes, and only nodes that it named."""
    if answer is None:
        return
    lists = [value for key, value in asked.items() if key.lower() == "nodenames" and isinstance(value, list)]
    named = {name for value in lists for name in value if isinstance(name, str)}
    if verb == "filter":
        assert set(answer) == {"Nodes", "NodeNames", "FailedNodes", "FailedAndUnresolvableNodes", "Error"}
        said = [*(answer["NodeNames"] or ()), *(answer["FailedNodes"] or ())]
        assert {*said, *(answer["FailedAndUnresolvableNodes"] or ())} <= named
        if not answer["Error"] and not answer["NodeNames"]:
            assert {*answer["FailedNodes"], *answer["FailedAndUnresolvableNodes"]} == named
    elif verb == "prioritize":
        assert all(0 <= score["Score"] <= 10 and score["Host"] in named for score in answer)
    elif verb == "preempt":
        assert all(node["Pods"] for node in answer["NodeNameToMetaVictims"].values())
    else:
        assert set(answer) == {"Error"}


@settings(max_examples=EXAMPLES * 5, deadline=None)
@given(EVERY, bodies, st.sampled_from([str, str.lower, str.upper]))
def test_structures_of_every_kind_are_answered_or_refused(verb: str, asked: Any, spelled: Any) -> None:
    if isinstance(asked, dict):
        asked = {spelled(key): value for key, value in asked.items()}
    before = CLUSTER.cycle.state.free.copy()
    answer = ask(verb, json.dumps(asked).encode())
    check(verb, answer, asked)
    if verb != "bind":
        assert (CLUSTER.cycle.state.free == before).all()
    CLUSTER.cycle.state.verify()


@settings(max_examples=EXAMPLES, deadline=None)
@given(EVERY, st.binary(max_size=300))
def test_bytes_of_every_kind_are_answered_or_refused(verb: str, content: bytes) -> None:
    ask(verb, content)


@settings(max_examples=EXAMPLES * 2, deadline=None)
@given(EVERY, st.data())
def test_recorded_bodies_with_a_few_bytes_changed_are_answered_or_refused(
    verb: str, data: st.DataObject
) -> None:
    content = bytearray(recorded(verb))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    ask(verb, bytes(content))
