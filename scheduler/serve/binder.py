"""The bind verb: check and reserve in the store, then the Binding, and back again where that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from scheduler.kube.errors import ApiUnavailable
from scheduler.kube.writes import Outcome, Writes
from scheduler.mirror.mirror import Mirror
from scheduler.mirror.reading import guarded_shape
from scheduler.mirror.record import PodRecord, Stage
from scheduler.model import Placed, Pod
from scheduler.serve.guide import Guide
from scheduler.serve.story import Stories
from scheduler.serve.witness import Witness
from scheduler.serve.worker import StoreThread
from scheduler.store.protocol import StoreUnavailable
from tenants.ledger.answer import Admitted
from tenants.ledger.book import Ledger

LAG_S: Final = 1.0
"""How long a bind waits for the watch to show a pod that kube-scheduler has seen already."""

STANDING: Final = frozenset({Stage.BOUND, Stage.LEAVING})

logger = structlog.get_logger("bind")


class Binder:
    """Binds pods, those of tenants only with quota and a lawful neighbourhood."""

    def __init__(
        self, mirror: Mirror, guide: Guide, store: StoreThread, api: Writes, stories: Stories,
        *, clock: Callable[[], float], wall: Callable[[], float],
    ) -> None:  # fmt: skip
        self._mirror, self._guide, self._store, self._api, self._stories = mirror, guide, store, api, stories
        self._witness = Witness(mirror, guide, api)
        self._clock, self._wall = clock, wall
        self._doubts: set[str] = set()  # pods whose last binding may have happened

    async def bind(self, namespace: str, name: str, uid: str, node: str) -> str:
        """Answer the bind verb: empty, or what kube-scheduler writes into the pod's event."""
        if self._mirror.tenants.tenant_of(namespace) is None:
            return (await self._post(namespace, name, uid, node))[0]
        record = await self._known(uid)
        if record is None:
            return f"pod {namespace}/{name} ({uid}) is not known here yet; kube-scheduler tries again"
        refusal = await self._take(record, node)
        if refusal:
            self._stories.add(uid, "BindRefused", refusal, self._wall(), node)
            return refusal
        self._doubts.add(uid)
        refusal, outcome = await self._post(namespace, name, uid, node)
        if outcome is Outcome.DONE:
            self._doubts.discard(uid)
        elif outcome is None:
            self._doubts &= self._mirror.pods.keys()  # who was deleted meanwhile is in doubt no longer
        elif await self._stands_nowhere(record):
            await self._drop(record)
        return refusal

    async def _stands_nowhere(self, record: PodRecord) -> bool:
        """Whether it is certain that no binding of this pod has happened; otherwise it keeps what it holds."""
        node = await self._witness.node_of(record)
        if node is not None:
            self._doubts.discard(record.uid)
        return node == ""

    async def _known(self, uid: str) -> PodRecord | None:
        until = self._clock() + LAG_S
        while (record := self._mirror.pods.get(uid)) is None and self._clock() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return record

    async def _take(self, record: PodRecord, node: str) -> str:
        """Room, neighbours and quota on that node; empty when all three are ours."""
        if node not in self._mirror.nodes:
            return f"node {node} is not known here"
        if record.stage in STANDING:
            return "" if record.node == node else f"it stands on node {record.node}"
        if (
            record.node == node
            and self._guide.surely_holds(record.uid)
            and not self._mirror.is_overdrawn(node)
        ):
            return ""
        try:
            holds = await self._store.step(
                lambda store: store.read(lambda ledger: node_in(ledger, record.uid))
            )
        except StoreUnavailable as error:
            return str(error)
        if (record.uid in self._doubts or holds not in {"", node}) and not await self._stands_nowhere(record):
            return "a binding of it to another node has happened, or may have"
        return await self._take_anew(record.uid, node, holds=bool(holds))

    async def _take_anew(self, uid: str, node: str, *, holds: bool) -> str:
        record = self._mirror.pods.get(uid)
        if record is None or record.stage in STANDING:
            return "the pod has changed meanwhile"
        if record.stage is Stage.ASSUMED:
            self._mirror.forget(uid, Stage.PENDING)
        refusal = self._refusal_on(record, node)
        if refusal:
            if holds and await self._stands_nowhere(record):
                await self._drop(record)
            return refusal
        self._mirror.cycle.policy.observe(self._mirror.state.demand(record.shape))
        self._mirror.assume(record, self._placed(record, node))
        self._guide.sets_out(uid)
        (verdict,) = await self._store.reserve([self._mirror.settle(uid)])
        if isinstance(verdict, Admitted):
            self._guide.holds(uid)
            return ""
        self._let_go(record)
        return str(verdict)

    def _refusal_on(self, record: PodRecord, node: str) -> str:
        """The walls and the room of that node, for this pod."""
        verdict = self._mirror.judge.judge(Pod(record.uid, guarded_shape(record.shape)), [node])
        if verdict.fitting:
            return ""
        why = verdict.error or verdict.unresolvable.get(node) or verdict.failed.get(node, "")
        return f"{why} on node {node}"

    def _placed(self, record: PodRecord, node: str) -> Placed:
        demand = self._mirror.state.demand(record.shape)
        return Placed(record.uid, node, self._mirror.state.fullest_devices(node, demand))

    async def _post(self, namespace: str, name: str, uid: str, node: str) -> tuple[str, Outcome | None]:
        """What to answer, and how it ended; None where nobody knows."""
        try:
            written = await self._api.bind(namespace, name, uid, node)
        except ApiUnavailable as error:
            return unanswered(error), None
        if not written.ok:
            return f"{written.outcome}: {written.message}", written.outcome
        self._witness.bound(uid, node)
        logger.info("bound", pod=f"{namespace}/{name}", uid=uid, node=node)
        return "", Outcome.DONE

    async def _drop(self, record: PodRecord) -> None:
        self._let_go(record)
        try:
            await self._store.step(lambda store: store.release(record.uid))
        except StoreUnavailable as error:
            logger.warning("release left to the deadline", uid=record.uid, why=str(error))

    def _let_go(self, record: PodRecord) -> None:
        self._guide.landed(record.uid)
        self._mirror.forget(record.uid, Stage.PENDING)
        self._guide.wake()


def node_in(ledger: Ledger, uid: str) -> str:
    """Where the ledger has a pod; empty for nowhere."""
    entry = ledger.entries.get(uid)
    return entry.charge.node if entry else ""


def unanswered(error: ApiUnavailable) -> str:
    """What kube-scheduler is told; it looks itself whether the pod is bound after all."""
    return f"the API server did not answer the binding: {error}"
