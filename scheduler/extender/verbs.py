"""The four verbs: what is asked of the cluster for each body, and what is answered. No state of its own, no I/O.

Called by the server with a complete request. Until the cluster is ready, every verb fails closed: filter and bind
answer an error, prioritize prefers nobody, preempt offers no victims.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from msgspec import UNSET, UnsetType

from scheduler.extender import wire
from scheduler.extender.http import TEXT, Request, Response, Routes, refusal
from scheduler.kube.objects import PodObject
from scheduler.placement.judge import Verdict

CANDIDATES = 1
"""One node is the whole answer: kube-scheduler then asks for no scores and takes it. See docs/decisions/0402."""


class Cluster(Protocol):
    """What the verbs ask. Only `bind` waits; the others answer from memory."""

    def ready(self) -> str:
        """Empty, or why the cluster is not known well enough to decide about it."""
        ...

    def concerns(self, namespace: str) -> bool:
        """Whether its pods are a tenant's. All others pass as they come, ready or not: the platform must go on."""
        ...

    def judge(self, pod: PodObject, names: Sequence[str]) -> Verdict:
        """Judge the named nodes for the pod."""
        ...

    async def bind(self, binding: wire.BindingArgs) -> str:
        """Reserve and bind; empty, or why not. The same binding asked again is answered the same."""
        ...

    def preempt(self, pod: PodObject, candidates: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        """Victims (pod UIDs) per node, of those that kube-scheduler proposes; a node that is left out is declined."""
        ...


class Verbs:
    """The handlers over one cluster.

    Args:
        cluster: who decides.
        candidates: how many nodes a filter answer names; one unless another extender chooses among them.
    """

    def __init__(self, cluster: Cluster, candidates: int = CANDIDATES) -> None:
        self._cluster = cluster
        self._candidates = candidates
        self._leaving = ""

    def routes(self) -> Routes:
        """The routes of the verbs and of health."""
        return {
            ("POST", "/filter"): self.filter,
            ("POST", "/prioritize"): self.prioritize,
            ("POST", "/preempt"): self.preempt,
            ("POST", "/bind"): self.bind,
            **self.health(),
        }

    def health(self) -> Routes:
        """The routes of health alone, for a port without TLS."""
        return {("GET", "/healthz"): self.healthz, ("GET", "/readyz"): self.readyz}

    def leave(self, why: str) -> None:
        """From now on `readyz` says no, so that nobody new comes; whoever is here is still answered."""
        self._leaving = why

    def filter(self, request: Request) -> Response:
        """Name the best of the nodes asked about, or say of each why not."""
        asked = wire.filter_args.read(request.body)
        why = names_missing(asked)
        if not why and not self._concerns(asked):
            return Response(wire.written(wire.FilterResult(node_names=asked.node_names or [])))
        why = why or self._cluster.ready()
        if why:
            return Response(wire.written(wire.FilterResult(error=why)))
        verdict = self._cluster.judge(given(asked.pod), asked.node_names or [])
        if verdict.error:
            return Response(wire.written(wire.FilterResult(error=verdict.error)))
        return Response(
            wire.written(
                wire.FilterResult(
                    node_names=verdict.fitting[: self._candidates],
                    failed_nodes=dict(verdict.failed),
                    failed_and_unresolvable_nodes=dict(verdict.unresolvable),
                )
            )
        )

    def prioritize(self, request: Request) -> Response:
        """Score the best ten; kube-scheduler gives all others nothing."""
        asked = wire.filter_args.read(request.body)
        if names_missing(asked) or not self._concerns(asked) or self._cluster.ready():
            return Response(wire.written([]))
        verdict = self._cluster.judge(given(asked.pod), asked.node_names or [])
        return Response(wire.written(wire.scores(verdict.fitting)))

    def preempt(self, request: Request) -> Response:
        """Choose among the candidates; what comes back keeps the count of budget violations that came with the node.

        A node without victims must not be answered: kube-scheduler takes it for a broken extender and gives up.
        """
        asked = wire.preemption_args.read(request.body)
        candidates, violations = proposed(asked)
        if not self._cluster.concerns(given(asked.pod).metadata.namespace):
            chosen: Mapping[str, Sequence[str]] = candidates
        elif self._cluster.ready() or not candidates:
            chosen = {}
        else:
            chosen = self._cluster.preempt(given(asked.pod), candidates)
        answer = {
            node: wire.MetaVictims([wire.MetaPod(uid) for uid in uids], violations.get(node, 0))
            for node, uids in chosen.items()
            if uids
        }
        return Response(wire.written(wire.PreemptionResult(answer)))

    def bind(self, request: Request) -> Response | Awaitable[Response]:
        """Reserve and bind."""
        asked = wire.binding_args.read(request.body)
        concerns = asked.namespace is UNSET or self._cluster.concerns(asked.namespace)
        why = self._cluster.ready() if concerns else ""
        return Response(wire.written(wire.BindingResult(why))) if why else self._bind(asked)

    async def _bind(self, asked: wire.BindingArgs) -> Response:
        return Response(wire.written(wire.BindingResult(await self._cluster.bind(asked))))

    def _concerns(self, asked: wire.ExtenderArgs) -> bool:
        return self._cluster.concerns(given(asked.pod).metadata.namespace)

    def healthz(self, request: Request) -> Response:
        """The process answers."""
        return Response(b"ok", content_type=TEXT)

    def readyz(self, request: Request) -> Response:
        """The cluster is known, and this replica may be asked: 200, else 503 with the reason."""
        why = self._leaving or self._cluster.ready()
        return refusal(503, why) if why else Response(b"ok", content_type=TEXT)


def given(pod: PodObject | UnsetType) -> PodObject:
    """The pod of a body; its reader has made sure of it."""
    assert pod is not UNSET, "the reader needs it"  # noqa: S101
    return pod


def names_missing(asked: wire.ExtenderArgs) -> str:
    """Why a body cannot be answered that brings nodes in place of names; a body with neither names no node."""
    return wire.NAMES_ONLY if asked.nodes and asked.node_names is None else ""


def proposed(asked: wire.PreemptionArgs) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Victims' UIDs and budget violations per candidate node, from either form; null and empty lists are none."""
    victims: dict[str, list[str]] = {}
    violations: dict[str, int] = {}
    for node, meta in (asked.node_name_to_meta_victims or {}).items():
        victims[node] = [pod.uid for pod in meta.pods or ()] if meta else []
        violations[node] = meta.violations if meta else 0
    for node, full in (asked.node_name_to_victims or {}).items():
        if node not in victims:
            victims[node] = [pod.metadata.uid for pod in full.pods or ()] if full else []
            violations[node] = full.violations if full else 0
    return victims, violations
