"""Why no node takes a pod: nodes per reason, and for the deciding one what was asked and the most there is.

Called by `cycle` when a ranking is empty.
"""

from __future__ import annotations

import numpy as np

from scheduler.compiled import compiled
from scheduler.model import REASON_CODES, Blocker, Pod, Reason, Refused
from scheduler.placement.classes import ClassTable
from scheduler.placement.demand import Question
from scheduler.placement.fit import asked_and_most
from scheduler.placement.kernel import class_reason
from scheduler.placement.ranking import Nearest, Ranking
from scheduler.placement.state import ClusterState

CODES = [REASON_CODES[reason] for reason in Reason]


def refuse(pod: Pod, ranking: Ranking, state: ClusterState) -> Refused:
    """Turn a ranking without a place into a refusal with its numbers."""
    tally = ranking.tally.nodes.copy()
    # What still FITS was ruled out by this pod's spread constraint: nothing else narrows the choice.
    tally[Reason.TOPOLOGY_SPREAD] += tally[Reason.FITS]
    tally[Reason.FITS] = tally[Reason.NODE_GONE] = 0
    present = np.nonzero(tally)[0].tolist()
    if not present:
        return Refused(pod.uid, Reason.NODE_GONE.code, detail="the cluster has no nodes")
    decisive = Reason(present[-1])
    nearest = _nearest(ranking, decisive, state)
    blockers = [Blocker(CODES[reason], int(tally[reason])) for reason in present[:-1]]
    blockers.append(Blocker(CODES[decisive], int(tally[decisive]), nearest.asked, nearest.most))
    return Refused(pod.uid, CODES[decisive], tuple(blockers))


def _nearest(ranking: Ranking, reason: Reason, state: ClusterState) -> Nearest:
    """The numbers of a capacity reason, from memory while they hold; a rule has no amounts."""
    known, table = ranking.nearest, state.classes.table
    everywhere = not ranking.tally.nodes[Reason.FITS]  # else a node with more may come to be short
    if known is not None and everywhere and still_nearest(known, reason, state):
        return known
    found = Nearest(reason, 0, 0, state.releases, None, None)
    if reason >= Reason.CPU:
        number, asked, most = scan(ranking.demand.question, table, state.classes.high, int(reason))
        found = Nearest(reason, number, int(table.birth[number]), state.releases, int(asked), int(most))
    ranking.nearest = found if everywhere else None
    return found


def still_nearest(known: Nearest, reason: Reason, state: ClusterState) -> bool:
    """Tell whether what was found earlier holds: nothing was freed since, and that class is as it was."""
    table = state.classes.table
    if known.reason != reason or known.releases != state.releases:
        return False
    return reason < Reason.CPU or bool(table.nodes[known.number] and table.birth[known.number] == known.birth)


@compiled
def scan(question: Question, table: ClassTable, high: int, reason: int) -> tuple[int, int, int]:
    """The living class that fails for `reason` and has the most of what is short; what was asked; the most."""
    nearest, asked, most = 0, 0, -1
    for number in range(high):
        if table.nodes[number] > 0 and class_reason(question, table, number) == reason:
            wanted, has = asked_and_most(
                table.free[number],
                table.gpu[number],
                question.request,
                question.gpu[0],
                question.gpu[1],
                reason,
            )
            if has > most:
                nearest, asked, most = number, wanted, has
    return nearest, asked, most
