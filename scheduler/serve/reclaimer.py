"""Gives guaranteed tenants their capacity back: who waits within its guarantee has borrowers evicted for it.

Only the leader evicts. A plan is claimed in the store before its first eviction, so nobody else gets what it frees; an
eviction that the API server refuses (a budget was faster) gives the claim up, and the next look makes another plan.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import structlog

from scheduler.kube.errors import ApiUnavailable
from scheduler.kube.events import About, Events
from scheduler.kube.writes import Outcome, Writes
from scheduler.mirror.mirror import Mirror
from scheduler.mirror.record import PodRecord, Stage
from scheduler.queueing.queue import Queue
from scheduler.queueing.waiting import Waiting
from scheduler.reclaim.budgets import Budget, Budgets, PodFacts
from scheduler.reclaim.plan import Plan, Reclaim
from scheduler.serve.guide import Guide
from scheduler.serve.story import Stories
from scheduler.serve.watches import BudgetSink
from scheduler.serve.worker import StoreThread
from scheduler.store.protocol import StoreUnavailable
from tenants.ledger.charge import Phase

EVERY_S: Final = 1.0
PLANS: Final = 8
"""Plans in one look; each is made on the ledger as the one before left it."""
CLAIM_S: Final = 60.0
"""A claim whose victims have not gone by then is given up; they may have a long grace period, and get a new plan."""

logger = structlog.get_logger("reclaim")


class Reclaimer:
    """Plans and evicts.

    Args:
        leads: whether this replica may evict now.
        evicted: told (tenant, outcome) of each eviction.
    """

    def __init__(
        self, mirror: Mirror, queue: Queue, guide: Guide, store: StoreThread, budgets: BudgetSink, writes: Writes,
        events: Events, stories: Stories,
        *, leads: Callable[[], bool], clock: Callable[[], float], wall: Callable[[], float],
        evicted: Callable[[str, str], None],
    ) -> None:  # fmt: skip
        self._mirror, self._queue, self._guide, self._store, self._budgets = (
            mirror,
            queue,
            guide,
            store,
            budgets,
        )
        self._writes, self._events, self._stories = writes, events, stories
        self._leads, self._clock, self._wall, self._evicted = leads, clock, wall, evicted
        self.claims: dict[str, float] = {}  # uid of who waits -> since when

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(EVERY_S)
            if self._leads() and len(self._queue):
                try:
                    await self.look()
                except StoreUnavailable as error:
                    logger.warning("nothing reclaimed", why=str(error))

    async def look(self) -> None:
        """Give up what is stale, then plan for those who wait within their guarantee."""
        await self._give_up([uid for uid, since in self.claims.items() if self._is_stale(uid, since)])
        made = 0
        for waiting in self._queue.entitled(self._mirror.ledger):
            if made == PLANS or waiting.uid in self.claims:
                continue
            plan = self._reclaim().plan(waiting)
            if isinstance(plan, Plan) and plan.victims:
                made += 1
                await self._carry_out(waiting, plan)

    def preempt(
        self, record: PodRecord, candidates: Mapping[str, Sequence[str]]
    ) -> Mapping[str, Sequence[str]]:
        """The extender's verb: of what kube-scheduler proposes, what the laws leave."""
        return self._reclaim().preempt(self._guide.waiting(record), candidates)

    def _reclaim(self) -> Reclaim:
        return Reclaim(self._mirror.ledger, self._mirror.state, budgets_of(self._budgets, self._mirror.pods))

    def _is_stale(self, uid: str, since: float) -> bool:
        record = self._mirror.pods.get(uid)
        gone = record is None or record.stage is not Stage.GATED
        return gone or self._clock() - since > CLAIM_S

    async def _give_up(self, uids: Iterable[str]) -> None:
        for uid in uids:
            del self.claims[uid]
            entry = self._mirror.ledger.entries.get(uid)
            if entry is not None and entry.phase is Phase.CLAIMED:
                self._mirror.ledger.release(uid)
                await self._store.step(lambda store, uid=uid: store.release(uid))  # type: ignore[misc]

    async def _carry_out(self, waiting: Waiting, plan: Plan) -> None:
        charge = waiting.charge
        await self._store.step(lambda store: store.claim(charge, plan.victims))
        self.claims[waiting.uid] = self._clock()
        for uid in plan.victims:
            self._mirror.ledger.terminate(uid)
        self._mirror.ledger.record(charge, Phase.CLAIMED)
        if plan.node:
            self._queue.expect(waiting.uid, plan.node)
        self._stories.add(
            waiting.uid, "Reclaiming", f"{plan.reason}; they are being evicted", self._wall(), plan.node
        )
        outcomes = [await self._evict(uid, waiting) for uid in plan.victims]
        logger.info("reclaimed", pod=waiting.key, tenant=waiting.tenant, outcomes=dict(Counter(outcomes)))
        if any(outcome not in {Outcome.DONE, Outcome.GONE} for outcome in outcomes):
            await self._give_up([waiting.uid])

    async def _evict(self, uid: str, asking: Waiting) -> Outcome:
        victim = self._mirror.pods.get(uid)
        if victim is None:
            return Outcome.GONE
        try:
            written = await self._writes.evict(victim.namespace, victim.name, uid)
            outcome = written.outcome
            if written.ok:
                note = f"tenant {asking.tenant} takes back what it is guaranteed and {victim.tenant} borrowed"
                await self._events.post(
                    About(victim.namespace, victim.name, uid), "Reclaimed", note, warning=True
                )
        except ApiUnavailable:
            outcome = Outcome.BUSY
        self._evicted(victim.tenant, str(outcome))
        if outcome not in {Outcome.DONE, Outcome.GONE}:
            await self._keep(victim)
        return outcome

    async def _keep(self, victim: PodRecord) -> None:
        """It was not evicted after all: it holds its quota as before."""
        if victim.stage is Stage.BOUND:
            self._mirror.ledger.record(victim.charge)
            charge = victim.charge
            await self._store.step(lambda store: store.record([charge]))


def budgets_of(sink: BudgetSink, pods: Mapping[str, PodRecord]) -> Budgets:
    """The disruption budgets as `reclaim` reads them.

    A selector with expressions is not evaluated here; such a budget counts as allowing nothing, the Eviction API
    being the judge: nobody is evicted by a plan that it would refuse.
    """
    found = []
    for budget in sink.known.values():
        selector = budget.spec.selector
        if selector is None:
            continue
        allowed = budget.status.disruptions_allowed if not selector.match_expressions else 0
        labels = tuple(sorted(selector.match_labels.items()))
        found.append(Budget(budget.metadata.namespace, labels, allowed))
    guarded = {budget.namespace for budget in found}
    facts = {
        uid: PodFacts(pod.namespace, tuple(pod.labels.items()))
        for uid, pod in pods.items()
        if pod.namespace in guarded
    }
    return Budgets(found, facts)
