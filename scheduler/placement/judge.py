"""For one pod and the nodes that somebody names: which of them fit, best first, and why each other one does not.

The guard of the extender. It decides by the rankings of the cycle, so a name costs a look-up; it changes nothing,
counts no arrival and may be asked hypothetically and as often as one likes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.compiled import compiled
from scheduler.model import REASON_CODES, Pod, Reason
from scheduler.placement.classes import GONE, ClassTable
from scheduler.placement.cycle import Cycle
from scheduler.placement.demand import Demand, Question
from scheduler.placement.fit import capacity_reason
from scheduler.placement.heap import Heap, empty_heap
from scheduler.placement.kernel import FITS, NODE_GONE, View, best_outcome, class_reason
from scheduler.placement.spread import allowed_profiles
from scheduler.placement.state import ClusterState, Standing
from scheduler.placement.tenancy import Occupancy

Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]

TOPOLOGY_SPREAD = int(Reason.TOPOLOGY_SPREAD)
LAST_RULE = Reason.BLAST_RADIUS
"""Reasons up to this one are not cured by evicting a pod: standing facts of the node, and walls between tenants."""
CODES = [REASON_CODES[reason] for reason in Reason]
EVERYWHERE: Int8 = np.zeros(0, np.int8)


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What is said of the nodes that were named.

    Attributes:
        fitting: the best of those that fit, best first.
        failed: code of the reason per node that eviction could free.
        unresolvable: code of the reason per node where eviction is in vain.
        error: why nothing can be said; the maps are empty then.

    The two maps are filled if nothing fits, or on request: whoever has a place is told no reasons.
    """

    fitting: list[str] = []
    failed: Mapping[str, str] = {}
    unresolvable: Mapping[str, str] = {}
    error: str = ""


def refused_everywhere(names: Sequence[str], why: str, *, resolvable: bool = False) -> Verdict:
    """The verdict of a rule that looks at no node, for example that the tenant is unknown or its quota is used up."""
    reasons = dict.fromkeys(names, why)
    return Verdict(failed=reasons) if resolvable else Verdict(unresolvable=reasons)


class Keys(NamedTuple):
    """The key of each class for one shape, known where `birth` is the class's own; -1 elsewhere."""

    key: NDArray[np.float64]
    birth: NDArray[np.int64]


class Judge:
    """Judges nodes by name over the state and the policy of one cycle.

    Args:
        cycle: whose rankings are asked.
        limit: how many of the fitting nodes a verdict names.
    """

    def __init__(self, cycle: Cycle, limit: int = 10) -> None:
        self._cycle = cycle
        self._keys: dict[int, Keys] = {}
        self._pricing = -1
        self._best = empty_heap(limit)

    def judge(self, pod: Pod, names: Sequence[str], *, every_reason: bool = False) -> Verdict:
        """Judge the named nodes for a pod; one that is unknown has gone.

        A pod that has room already (placed or assumed) does not stand in its own way: its node is judged as if the
        pod were away, and comes first if it still fits.
        """
        state = self._cycle.state
        demand = state.demand(pod.shape)
        if demand.admission.refusal:
            return refused_everywhere(names, demand.admission.refusal)
        standing = state.pods.get(pod.uid)
        own = state.nodes[standing.node] if standing else None
        if standing is not None and own is not None and own.name in names:
            reason = reason_where_it_stands(state, standing, demand)
            if reason == FITS and len(names) == 1:
                return Verdict([own.name])
            return self._judge(demand, standing, names, standing.node, int(reason), every_reason)
        # A guided pod: its only node is cheaper to look at than a ranking is to bring up to date.
        number = state.number_of.get(names[0]) if len(names) == 1 and not demand.shape.spread else None
        if number is not None and reason_on(state, number, demand) == FITS:
            return Verdict([names[0]])
        return self._judge(demand, standing, names, GONE, NODE_GONE, every_reason)

    def _judge(
        self,
        demand: Demand,
        standing: Standing | None,
        names: Sequence[str],
        own: int,
        own_reason: int,
        every_reason: bool,
    ) -> Verdict:
        """Judge all names, the node `own` by the reason given."""
        state, cycle = self._cycle.state, self._cycle
        ranking = cycle.ranking(demand)
        ranking.best(state, cycle.view(), cycle.policy.pricing)
        allowed = self._allowed(demand, standing) if demand.shape.spread else EVERYWHERE
        numbers = np.fromiter(map(state.number_of.get, names, repeat(GONE)), np.int32, len(names))
        reasons = np.empty(len(names), np.int8)
        count = judge_nodes(
            demand.question,
            state.classes.table,
            cycle.view(),
            state.classes.of_node,
            ranking.tally.reason_of,
            allowed,
            numbers,
            (own, own_reason),
            self._known(demand, state),
            reasons,
            self._best,
        )
        fitting = [names[position] for position in self._best.number[:count].tolist()]
        if fitting and not every_reason:
            return Verdict(fitting)
        return with_reasons(fitting, names, reasons)

    def _known(self, demand: Demand, state: ClusterState) -> Keys:
        """What is known of the classes for this shape, with room for all of them; nothing after a repricing."""
        if self._pricing != self._cycle.policy.pricing:
            self._pricing = self._cycle.policy.pricing
            self._keys.clear()
        room = len(state.classes.table.nodes)
        keys = self._keys.get(demand.number)
        if keys is None or len(keys.key) < room:
            keys = self._keys[demand.number] = Keys(np.zeros(room), np.full(room, -1, np.int64))
        return keys

    def _allowed(self, demand: Demand, standing: Standing | None) -> Int8:
        """The profiles that the spread rules leave; the pod's own standing is not counted."""
        state = self._cycle.state
        held = state.demands[standing.demand].shape.spread if standing else ()
        node = state.nodes[standing.node] if standing else None
        if node is None or not held:
            return allowed_profiles(state, demand)
        labels = dict(node.labels)
        counts = dict(state.spread)
        for spread in held:
            key = (spread.group, spread.topology_key)
            counts[key] = counts[key].copy()
            counts[key][labels.get(spread.topology_key, "")] -= 1
        return allowed_profiles(state, demand, counts)


def with_reasons(fitting: list[str], names: Sequence[str], reasons: Int8) -> Verdict:
    """Spell the reasons out, one per node that does not fit."""
    failed: dict[str, str] = {}
    unresolvable: dict[str, str] = {}
    for name, reason in zip(names, reasons.tolist(), strict=True):
        if reason > LAST_RULE:
            failed[name] = CODES[reason]
        elif reason != FITS:
            unresolvable[name] = CODES[reason]
    return Verdict(fitting, failed, unresolvable)


def reason_on(state: ClusterState, number: int, demand: Demand) -> int:
    """Whether a pod fits on one node as it is."""
    return class_reason(
        demand.learn(state.profiles, state.occupancies, state.tenancy),
        state.classes.table,
        state.classes.of_node[number],
    )


def reason_where_it_stands(state: ClusterState, standing: Standing, demand: Demand) -> Reason:
    """Whether a pod fits where it has room already: the node as it would be without the pod."""
    number, held = standing.node, state.demands[standing.demand]
    question = demand.learn(state.profiles, state.occupancies, state.tenancy)
    reason = Reason(int(question.profile_reasons[state.profile_of[number]]))
    presence = demand.admission.presence
    if reason == FITS and presence is not None:
        occupancy = state.occupancies[state.occupancy_of[number]]
        if state.is_alone(number, held.admission.presence):
            others = tuple(found for found in occupancy.residents if found != held.admission.presence)
            occupancy = Occupancy(others, occupancy.limit)
        reason = state.tenancy.coresidency(occupancy, presence)
    if reason != FITS:
        return reason
    gpu = state.gpu_free[number].copy()
    for device in standing.devices:
        gpu[device] += held.milli
    gpu.sort()
    return Reason(
        capacity_reason(state.free[number] + held.request, gpu, demand.request, demand.count, demand.milli)
    )


@compiled
def judge_nodes(
    question: Question,
    table: ClassTable,
    view: View,
    of_node: Int32,
    reason_of: Int8,
    allowed: Int8,
    numbers: Int32,
    own: tuple[int, int],
    known: Keys,
    reasons: Int8,
    best: Heap,
) -> int:
    """Write the reason of every node and the best of those that fit, best first; returns how many of them.

    Args:
        question: the demand.
        table: the classes.
        view: what rankings share.
        of_node: class per node.
        reason_of: reason per node, up to date.
        allowed: 1 per profile that the spread rules leave; empty where there are none.
        numbers: the nodes to judge, GONE where unknown.
        own: the node where the pod stands, or GONE, and its reason; it precedes all others.
        known: keys by class.
        reasons: out, per position of `numbers`.
        best: out, key, position in `numbers` and birth of the class; its length is how many are wanted.
    """
    count = 0
    for position in range(len(numbers)):
        node = numbers[position]
        reason = reason_at(table, of_node, reason_of, allowed, node, own)
        reasons[position] = reason
        if reason != FITS:
            continue
        if node == own[0]:
            count = keep(best, count, np.inf, position, 0)
            continue
        number = of_node[node]
        if known.birth[number] != table.birth[number]:
            known.key[number], _ = best_outcome(question, table, view, number)
            known.birth[number] = table.birth[number]
        count = keep(best, count, known.key[number], position, known.birth[number])
    return count


@compiled
def reason_at(
    table: ClassTable, of_node: Int32, reason_of: Int8, allowed: Int8, node: int, own: tuple[int, int]
) -> int:
    """The reason of one node."""
    if node == GONE:
        return NODE_GONE
    if node == own[0]:
        return own[1]
    reason = int(reason_of[node])
    if reason == FITS and len(allowed) > 0 and allowed[table.profile[of_node[node]]] == 0:
        return TOPOLOGY_SPREAD
    return reason


@compiled
def keep(best: Heap, count: int, key: float, position: int, birth: int) -> int:
    """Insert into the best `count`, unless they are full of better ones; equals keep the order of arrival."""
    place = count
    while place > 0 and (
        key > best.key[place - 1] or (key == best.key[place - 1] and birth < best.birth[place - 1])
    ):
        if place < len(best.key):
            best.key[place], best.number[place] = best.key[place - 1], best.number[place - 1]
            best.birth[place] = best.birth[place - 1]
        place -= 1
    if place == len(best.key):
        return count
    best.key[place], best.number[place], best.birth[place] = key, position, birth
    return min(count + 1, len(best.key))
