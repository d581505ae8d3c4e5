"""The few writes that Bulkhead makes, each under a precondition: it hits the very pod that was meant, or nothing.

The pod's UID travels with every write, so a pod that was deleted and made again under its name is never touched, and
a write whose answer was lost may be sent again. Refusals are values. Tenants choose names; the API server has checked
them, and `_pod` quotes them all the same.
"""

from __future__ import annotations

import enum
from typing import Any, Final
from urllib.parse import quote

import msgspec

from scheduler.kube import rewrite
from scheduler.kube.connection import JSON, MERGE, METADATA_ONLY, STRATEGIC, Connection
from scheduler.kube.exchange import Answer
from scheduler.kube.objects import Expression, PodObject, StatusObject, Term
from scheduler.kube.readers import unwrapped

MESSAGE_CHARS: Final = 1000
NOT_FOUND: Final = 404
REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"


class _Uid(msgspec.Struct):
    uid: str


class _Node(msgspec.Struct):
    node: str = msgspec.field(name="nodeName", default="")


class _Place(msgspec.Struct):
    metadata: _Uid
    spec: _Node


_PLACE = msgspec.json.Decoder(_Place)
_STATUS = msgspec.json.Decoder(StatusObject)


class Outcome(enum.StrEnum):
    """How a write ended."""

    DONE = "Done"
    GONE = "Gone"  # the pod is not there any more
    CONFLICT = "Conflict"  # another pod of that name, or it changed meanwhile, or it stands elsewhere
    BUDGET = "DisruptionBudget"  # a PodDisruptionBudget does not allow it now
    BUSY = "Busy"  # the server asks for patience
    REFUSED = "Refused"  # everything else: rights, admission, validation


class Written(msgspec.Struct, frozen=True):
    """What became of a write; `message` in the server's words, `retry_after` in seconds where it named a time."""

    outcome: Outcome
    status: int
    message: str = ""
    retry_after: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it is so now."""
        return self.outcome is Outcome.DONE


class Writes:
    """Writes through one connection. All raise ApiUnavailable where no answer came: then it may or may not be so."""

    def __init__(self, connection: Connection, *, deadline_s: float = 15.0) -> None:
        self._connection, self._deadline_s = connection, deadline_s

    async def bind(self, namespace: str, name: str, uid: str, node: str) -> Written:
        """Stand this pod on this node; a repetition that finds it there already is done."""
        answer = await self._connection.request(
            "POST", f"{_pod(namespace, name)}/binding", rewrite.binding(namespace, name, uid, node),
            rewrite.PROTOBUF, JSON, deadline_s=self._deadline_s, repeatable=True,
        )  # fmt: skip
        written = written_of(answer)
        # assignPod, pkg/registry/core/pod/storage: the UID is compared before the node, so this pod is the one meant.
        if written.outcome is Outcome.CONFLICT and f'already assigned to node "{node}"' in written.message:
            return Written(Outcome.DONE, written.status, written.message)
        return written

    async def node_of(self, namespace: str, name: str, uid: str) -> str | None:
        """Where this pod stands, as the store's quorum confirms: empty where it is bound nowhere or gone.

        None: the server has answered, but not the question.
        """
        answer = await self._connection.request("GET", _pod(namespace, name), deadline_s=self._deadline_s)
        if answer.status == NOT_FOUND:
            return ""
        try:
            found = _PLACE.decode(answer.body) if answer.ok else None
        except msgspec.MsgspecError:
            return None
        if found is None:
            return None
        return found.spec.node if found.metadata.uid == uid else ""

    async def nominate(self, pod: PodObject, node: str) -> Written:
        """Set status.nominatedNodeName, which kube-scheduler tries first; "" takes it back."""
        if pod.raw and node:
            written = await self._put_back(pod, rewrite.nominated(pod.raw, node), "/status")
            if written is not None:
                return written
        body = {"metadata": {"uid": pod.metadata.uid}, "status": {"nominatedNodeName": node or None}}
        return await self._patch(pod, body, "/status")

    async def open_gate(
        self, pod: PodObject, gate: str, candidates: tuple[str, ...] = (), *, untracked: bool = False
    ) -> Written:
        """Remove the gate; with candidates, in the same write, let the pod stand on these nodes only.

        With `untracked` the managed fields of a pod that nobody applied go too, where that costs nothing.

        Gates can only be removed after creation, so a pod that changed meanwhile needs no precondition but its UID.
        """
        if pod.raw and len(candidates) <= 1:
            written = await self._put_back(
                pod, rewrite.opened(pod.raw, gate, *candidates, untracked=untracked)
            )
            if written is not None:
                return written
        spec: dict[str, Any] = {"schedulingGates": gates_without(pod, gate) or None}
        if candidates:
            spec["affinity"] = {
                "nodeAffinity": {REQUIRED: {"nodeSelectorTerms": aimed_terms(pod, candidates)}}
            }
        return await self._patch(pod, {"metadata": {"uid": pod.metadata.uid}, "spec": spec})

    async def evict(
        self, namespace: str, name: str, uid: str, *, grace_s: int | None = None, dry_run: bool = False
    ) -> Written:
        """Ask the Eviction API to end this pod; a budget may say no. `grace_s` in seconds, else the pod's own."""
        options: dict[str, Any] = {"preconditions": {"uid": uid}}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        if dry_run:
            options["dryRun"] = ["All"]
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": options,
        }
        return await self._send("POST", f"{_pod(namespace, name)}/eviction", body, patient=False)

    async def set_condition(
        self, pod: PodObject, type_: str, status: str, reason: str, message: str, at: str
    ) -> Written:
        """One condition of the pod's status; the others stay. `status` is True, False or Unknown, `at` RFC 3339."""
        condition = {
            "type": type_,
            "status": status,
            "reason": reason,
            "message": message[:MESSAGE_CHARS],
            "lastTransitionTime": at,
        }
        body = {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}}
        return await self._patch(
            pod, body, "/status", STRATEGIC
        )  # a merge patch would replace the whole list

    async def _put_back(self, pod: PodObject, body: bytes | None, part: str = "") -> Written | None:
        """The whole object, as `rewrite` made it; None where a patch has to do it."""
        raw, pod.raw = pod.raw, b""
        if body is None:
            return None
        path = f"{_pod(pod.metadata.namespace, pod.metadata.name)}{part}?fieldManager=bulkhead&fieldValidation=Ignore"
        answer = await self._connection.request(
            "PUT",
            path,
            body,
            rewrite.PROTOBUF,
            rewrite.PROTOBUF if part else rewrite.PROTOBUF_METADATA_ONLY,
            deadline_s=self._deadline_s,
        )
        if answer.ok:
            pod.raw = unwrapped(answer.body) if part else raw
            return Written(Outcome.DONE, answer.status)
        # Mostly a 409: the pod has another version by now, or is another one. What holds whatever the version is tried.
        return Written(Outcome.GONE, answer.status) if answer.status == NOT_FOUND else None

    async def _patch(
        self, pod: PodObject, body: dict[str, Any], part: str = "", content_type: str = MERGE
    ) -> Written:
        path = f"{_pod(pod.metadata.namespace, pod.metadata.name)}{part}?fieldManager=bulkhead"
        return await self._send("PATCH", path, body, content_type)

    async def _send(
        self, method: str, path: str, body: Any, content_type: str = JSON, *, patient: bool = True
    ) -> Written:
        accept = METADATA_ONLY if method == "PATCH" else JSON
        answer = await self._connection.request(
            method, path, msgspec.json.encode(body), content_type, accept,
            deadline_s=self._deadline_s, repeatable=True, patient=patient,
        )  # fmt: skip
        return written_of(answer)


def written_of(answer: Answer) -> Written:
    """The answer to a write as a value."""
    if answer.ok:
        return Written(Outcome.DONE, answer.status)
    try:
        message = _STATUS.decode(answer.body).message
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        message = answer.body[:MESSAGE_CHARS].decode(errors="replace").strip()
    outcome = _OUTCOMES.get(answer.status, Outcome.REFUSED)
    if outcome is Outcome.BUSY and "disruption budget" in message:
        outcome = Outcome.BUDGET
    elif "metadata.uid" in message and "field is immutable" in message:
        outcome = Outcome.CONFLICT  # how a patch says that this is another pod of that name
    return Written(outcome, answer.status, message[:MESSAGE_CHARS], answer.retry_after)


_OUTCOMES: Final = {
    NOT_FOUND: Outcome.GONE,
    409: Outcome.CONFLICT,
    429: Outcome.BUSY,
    503: Outcome.BUSY,
    504: Outcome.BUSY,
}


def gates_without(pod: PodObject, gate: str) -> list[dict[str, str]]:
    """The gates that remain."""
    return [{"name": found.name} for found in pod.spec.scheduling_gates if found.name != gate]


def aimed_terms(pod: PodObject, candidates: tuple[str, ...]) -> list[dict[str, Any]]:
    """Node selector terms that hold on the candidates alone, best first, and still say what the pod said itself.

    Terms are ORed, so a pod without any gets one per candidate. Where it has its own, the API server lets a gated
    pod's terms only grow (their number stays, KEP-3838), so each of them gets the best candidate and nothing else.
    """
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    own = affinity.required.node_selector_terms if affinity and affinity.required else ()
    if not own:
        return [{"matchFields": [_name_is(node)]} for node in candidates]
    return [_narrowed(term, candidates[0]) for term in own]


def _narrowed(term: Term, node: str) -> dict[str, Any]:
    fields = [_written(found) for found in term.match_fields] or [_name_is(node)]
    expressions = [_written(found) for found in term.match_expressions]
    return {"matchFields": fields, **({"matchExpressions": expressions} if expressions else {})}


def _name_is(node: str) -> dict[str, Any]:
    return {"key": "metadata.name", "operator": "In", "values": [node]}


def _written(expression: Expression) -> dict[str, Any]:
    values = {"values": list(expression.values)} if expression.values else {}
    return {"key": expression.key, "operator": expression.operator, **values}


def _pod(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"
