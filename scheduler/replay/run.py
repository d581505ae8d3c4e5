"""One replay: pods arrive one at a time, each is placed or refused for good, nothing leaves.

Pure but for the clock that is handed in. Called by the command line, the capacity comparison and the benchmarks.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from scheduler.model import Decision, Placed, Pod
from scheduler.placement.cycle import Cycle
from scheduler.placement.demand import Demand
from scheduler.placement.score.registry import Policy
from scheduler.placement.state import ClusterState
from scheduler.traces.workload import MEASURED, capacity_of, request_of

Clock = Callable[[], int]
Watcher = Callable[[Pod, Demand, Decision], None]


class RunResult(msgspec.Struct, frozen=True):
    """What one replay came to. Percentages are of the cluster's capacity; times are nanoseconds per decision.

    `first_refusal_load_pct` is the demand that had arrived when the first pod was refused, in percent of the
    capacity of the scarce resource, or None when every pod was placed.
    """

    seed: int
    placed: int
    failed: int
    failed_by_reason: dict[str, int]
    allocation_pct: dict[str, float]
    first_refusal_load_pct: float | None
    decision_ns: array[int]
    nodes_used: int
    interrupted: bool = False


class Replay:
    """Runs arrivals through a cycle and keeps count; `result` may be asked for at any moment."""

    def __init__(self, state: ClusterState, policy: Policy, scarce: str, clock: Clock) -> None:
        self.state = state
        self.cycle = Cycle(state, policy)
        self._scarce = scarce
        self._clock = clock
        self._capacity = capacity_of([node for node in state.nodes if node])
        self._held: Counter[str] = Counter()
        self._arrived = 0
        self._first_refusal: int | None = None
        self._placed = 0
        self._failures: Counter[str] = Counter()
        self._took = array("q")

    def arrive(self, pod: Pod) -> Decision:
        """Decide about one pod and apply the decision."""
        started = self._clock()
        decision = self.cycle.decide(pod)
        if isinstance(decision, Placed):
            self.state.place(self.state.demand(pod.shape), decision)
        self._took.append(self._clock() - started)
        self._count(pod, decision)
        return decision

    def _count(self, pod: Pod, decision: Decision) -> None:
        asked = request_of(pod.shape)
        self._arrived += asked[self._scarce]
        if isinstance(decision, Placed):
            self._placed += 1
            self._held.update(asked)
            return
        self._failures[decision.reason] += 1
        if self._first_refusal is None:
            self._first_refusal = self._arrived

    def result(self, seed: int, *, interrupted: bool = False) -> RunResult:
        """What has been done so far."""
        first = self._first_refusal
        return RunResult(
            seed=seed,
            placed=self._placed,
            failed=self._failures.total(),
            failed_by_reason=dict(self._failures.most_common()),
            allocation_pct={
                name: percent(self._held[name], self._capacity.get(name, 0)) for name in MEASURED
            },
            first_refusal_load_pct=None if first is None else percent(first, self._capacity[self._scarce]),
            decision_ns=self._took,
            nodes_used=len({standing.node for standing in self.state.pods.values()}),
            interrupted=interrupted,
        )


def replay(
    run: Replay,
    pods: Sequence[Pod],
    seed: int,
    watcher: Watcher | None = None,
    progress: Callable[[int], None] | None = None,
) -> RunResult:
    """Let every pod arrive; an interrupt ends the replay early with what is done so far.

    Args:
        run: the cluster and policy.
        pods: in order of arrival.
        seed: named in the result.
        watcher: told of every decision.
        progress: told of every 256th pod.
    """
    try:
        for number, pod in enumerate(pods):
            decision = run.arrive(pod)
            if watcher is not None:
                watcher(pod, run.state.demand(pod.shape), decision)
            if progress is not None and number % 256 == 0:
                progress(256)
    except KeyboardInterrupt:
        return run.result(seed, interrupted=True)
    return run.result(seed)


def percent(part: int, whole: int) -> float:
    """`part` in percent of `whole`; 0 of nothing is 0."""
    return 100.0 * part / whole if whole else 0.0
