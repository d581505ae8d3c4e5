"""One round: tenants take turns pod by pod in the fair order until nobody can go or the limit is reached.

Everything is tried in the ledger inside `what_if`, so a pod sees what those before it took, and nothing remains; room
is really taken. A failure is answered for a whole unit and costs the round one try.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from typing import NamedTuple

from scheduler import model
from scheduler.model import Placed
from scheduler.queueing import stories
from scheduler.queueing.fairness import Fairness, Key
from scheduler.queueing.hold import Hold
from scheduler.queueing.line import Line
from scheduler.queueing.room import Room
from scheduler.queueing.unit import Place, Unit
from scheduler.queueing.waiting import Guided, Story, Waiting
from tenants.ledger.answer import Admitted, Reason, Refused
from tenants.ledger.book import Ledger
from tenants.ledger.charge import Charge
from tenants.ledger.tree import ROOT
from tenants.model import Dimension

RULED_OUT = frozenset({Reason.NO_SUCH_TENANT, Reason.DIMENSION_NOT_STATED, Reason.EXCEEDS_MAX_QUOTA})
LEAST_FAILURES = 8


class Bar(NamedTuple):
    """Later units below one node of the tree do not get these dimensions: they are kept for `unit`."""

    unit: Unit
    first: Waiting
    dimensions: frozenset[Dimension]
    leaf: int
    spares_guarantee: bool


class Failure(NamedTuple):
    """Why one member of a unit could not go."""

    member: Waiting
    answer: Refused | model.Refused
    asked_before: tuple[Charge, ...]


class Round:
    """The work of one round over the lines of all tenants.

    Args:
        patience_s: who waits longer insists: quota and one node are kept for it.
        tried: UIDs that were tried in an earlier round; those tried now are added.
    """

    def __init__(self, ledger: Ledger, room: Room, lines: dict[str, Line], hold: Hold, tried: set[str], *,
                 now: float, limit: int, patience_s: float) -> None:  # fmt: skip
        self.ledger, self.room, self.lines, self.hold = ledger, room, lines, hold
        self.tried, self.now, self.limit, self.patience_s = tried, now, limit, patience_s
        self.fairness = Fairness(ledger)
        self.guided: list[Guided] = []
        self.emptied: list[Unit] = []
        self.changed: list[Unit] = []
        self.failures: defaultdict[str, int] = defaultdict(int)
        self.served: set[str] = set()
        self._bars: defaultdict[int, list[Bar]] = defaultdict(list)
        self._kept_for_borrowers: list[Charge] = []
        self._heap: list[tuple[Key, tuple[int, float, str], str]] = []

    def run(self) -> None:
        """Serve everybody who can be served."""
        active = [line for line in self.lines.values() if line.peek() is not None]
        self._most_failures = max(LEAST_FAILURES, self.limit // max(1, len(active)))
        for line in active:
            self._queue_up(line)
        while self._heap and len(self.guided) < self.limit:
            key, _, tenant = heapq.heappop(self._heap)
            if self._is_current(key, self.lines[tenant]):
                self._serve(self.lines[tenant])
            else:  # another member of its group was served
                self._queue_up(self.lines[tenant])
        for key, _, tenant in sorted(self._heap):  # nobody waits a round because others have much to do
            if tenant not in self.served and (key[0] == 0 or not self._borrows(tenant)):
                self._serve(self.lines[tenant])

    def _borrows(self, tenant: str) -> bool:
        """Whether it has more than its guarantee: with a turn for each such tenant in every small round, all of them
        would get the same, whatever their weights.
        """
        unit = self.lines[tenant].peek()
        return unit is not None and any(self.fairness.key(unit.first().charge, waited_long=True)[1:])

    def _queue_up(self, line: Line) -> None:
        unit = line.peek()
        line.unfinished = unit is not None and self.failures[line.tenant] >= self._most_failures
        if unit is not None and not line.unfinished:
            head = unit.first()
            heapq.heappush(self._heap, (self._key(head), head.order, line.tenant))

    def _key(self, head: Waiting) -> Key:
        return self.fairness.key(head.charge, waited_long=self._insists(head))

    def _is_current(self, key: Key, line: Line) -> bool:
        unit = line.peek()
        return unit is None or self.fairness.is_alone(line.tenant) or self._key(unit.first()) == key

    def _serve(self, line: Line) -> None:
        unit = line.peek()
        if unit is None:
            return
        self.served.add(line.tenant)
        if not self._try(line, unit):
            self.failures[line.tenant] += 1
        self._queue_up(line)

    # --- one unit -------------------------------------------------------------------------------------------

    def _try(self, line: Line, unit: Unit) -> bool:
        """Let a unit go, or note what it waits for."""
        bar = self._barred(unit)
        if bar is not None:
            self._tell(unit, stories.behind(unit.first(), bar.first))
            line.follow(unit, bar.unit)
            return False
        batch = unit.batch()
        done, failure = self._attempt(batch, unit.need)
        if len(done) >= unit.need:
            self._let_go(line, unit, done)
            return True
        assert failure is not None, "who cannot go knows why"  # noqa: S101
        for guided in done:
            self._undo(unit, guided)
        if isinstance(failure.answer, Refused):
            self._lacks_quota(line, unit, failure, len(done))
        else:
            self._lacks_room(line, unit, failure, len(done))
        return False

    def _attempt(self, batch: list[Waiting], need: int) -> tuple[list[Guided], Failure | None]:
        """Take quota and room for as many as can go, while enough of them may."""
        done: list[Guided] = []
        failure = None
        for index, member in enumerate(batch):
            if len(done) + len(batch) - index < need:
                break
            answer = self._take(member)
            if isinstance(answer, Placed):
                done.append(Guided(member, answer))
            elif failure is None:
                failure = Failure(member, answer, tuple(guided.waiting.charge for guided in done))
        return done, failure

    def _take(self, member: Waiting) -> Placed | Refused | model.Refused:
        known = member.uid in self.ledger.entries
        answer = self.ledger.admit(member.charge)
        if isinstance(answer, Refused) and self._kept_for_borrowers:
            answer = self._admit_before_kept(member.charge, answer)
        if isinstance(answer, Refused):
            return answer
        decision = self.hold.taken.pop(member.uid, None) or self.room.place(
            member, again=member.uid in self.tried
        )
        self.tried.add(member.uid)
        if isinstance(decision, model.Refused) and not known:
            self.ledger.release(member.uid)
        return decision

    def _admit_before_kept(self, charge: Charge, refusal: Refused) -> Refused | Admitted:
        """What is kept for a borrower is no reason to refuse what is guaranteed."""
        if not self._is_guaranteed(charge):
            return refusal
        for kept in self._kept_for_borrowers:
            self.ledger.release(kept.uid)
        answer = self.ledger.admit(charge)
        for kept in self._kept_for_borrowers:
            self.ledger.record(kept)
        return answer

    def _is_guaranteed(self, charge: Charge) -> bool:
        """Whether the tenant would stay within its guarantee, what is kept for its own borrower not counted."""
        own = [kept for kept in self._kept_for_borrowers if kept.tenant == charge.tenant]
        for kept in own:
            self.ledger.release(kept.uid)
        answer = self.fairness.within_guarantee(charge)
        for kept in own:
            self.ledger.record(kept)
        return answer

    def _undo(self, unit: Unit, guided: Guided) -> None:
        self.ledger.release(guided.waiting.uid)
        if self.hold.keeps(unit):
            self.hold.taken[guided.waiting.uid] = guided.placed
        else:
            self.room.unplace(guided.waiting.uid)

    def _let_go(self, line: Line, unit: Unit, done: list[Guided]) -> None:
        for guided in done:
            self.guided.append(guided)
            del unit.members[guided.waiting.uid]
        self.hold.drop(unit)
        self._wake_followers(unit)
        if unit.members and not unit.gang:
            line.make_ready(unit)
        else:
            line.set_aside(unit, Place.NOWHERE)
            self.emptied.append(unit)

    def _wake_followers(self, unit: Unit) -> None:
        followers, unit.followers = unit.followers, []
        for follower in followers:
            if follower.place is Place.BEHIND:
                self.lines[follower.tenant].make_ready(follower)

    # --- what it waits for ----------------------------------------------------------------------------------

    def _insists(self, head: Waiting) -> bool:
        return self.now - head.arrived >= self.patience_s

    def _lacks_quota(self, line: Line, unit: Unit, failure: Failure, done: int) -> None:
        answer = failure.answer
        assert isinstance(answer, Refused)  # noqa: S101
        head = unit.first()
        self._tell(unit, stories.of_quota(self.ledger, failure.member, answer), done, failure)
        self.hold.drop(unit)
        if answer.reason in RULED_OUT:
            line.rule_out(unit)
            self._wake_followers(unit)
        elif self._insists(head):
            line.insist(unit)
            self._keep_quota(unit, head, failure, answer)
        else:
            short = answer.shortages[0]
            before = sum(self.ledger.amounts(one).get(short.dimension, 0) for one in failure.asked_before)
            line.wait_for_quota(unit, short.dimension, short.asked + before, head.arrived + self.patience_s)
            self._wake_followers(unit)

    def _keep_quota(self, unit: Unit, head: Waiting, failure: Failure, answer: Refused) -> None:
        """Nobody later gets what it lacks: of its own tenant, of a group whose limit decides, or of the pool."""
        leaf = self.ledger.forest.leaf(unit.tenant)
        dimensions = frozenset(shortage.dimension for shortage in answer.shortages)
        deciders = {self.ledger.forest.number_of[shortage.node] for shortage in answer.shortages}
        trees = self.ledger.forest.trees
        drains = all(
            shortage.asked <= trees[shortage.dimension].subtree[leaf] for shortage in answer.shortages
        )
        own = Bar(unit, head, dimensions, leaf, spares_guarantee=not drains)
        self._bars[leaf].append(own)
        for node in deciders - {leaf, ROOT}:
            self._bars[node].append(own._replace(spares_guarantee=True))
        if ROOT in deciders:
            for charge in (*failure.asked_before, failure.member.charge):
                self._keep(charge)

    def _keep(self, charge: Charge) -> None:
        if charge.uid not in self.ledger.entries:
            if not self.fairness.within_guarantee(charge):
                self._kept_for_borrowers.append(charge)
            self.ledger.record(charge)

    def _barred(self, unit: Unit) -> Bar | None:
        if not self._bars:
            return None
        head = unit.first()
        leaf = self.ledger.forest.leaf(unit.tenant)
        asked = self.ledger.amounts(head.charge).keys()
        for node in self.ledger.forest.paths[leaf]:
            for bar in self._bars.get(node, ()):
                if bar.unit is unit or bar.dimensions.isdisjoint(asked):
                    continue
                if not (bar.spares_guarantee and self._is_guaranteed(head.charge)):
                    return bar
        return None

    def _lacks_room(self, line: Line, unit: Unit, failure: Failure, done: int) -> None:
        answer = failure.answer
        assert isinstance(answer, model.Refused)  # noqa: S101
        node = self.hold.node_of(unit)
        self._tell(unit, stories.of_room(answer, node), done, failure)
        unit.room_tried = self.hold.version(self.room)
        line.wait_for_room(unit)
        self._wake_followers(unit)
        if self._insists(unit.first()):
            self.hold.adopt(unit, self.room)
        if self.hold.keeps(unit):
            for charge in (*failure.asked_before, failure.member.charge):
                self._keep(charge)

    def _tell(self, unit: Unit, story: Story, done: int = 0, failure: Failure | None = None) -> None:
        if unit.gang and failure is not None:
            story = stories.of_partial_group(story, done, unit.need, failure.member)
        if story.code is not unit.story.code:
            self.changed.append(unit)
        unit.story = story
