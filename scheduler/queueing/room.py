"""What the queue asks of the cluster: take room for a pod, give it back, keep one node free for a pod that starves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from scheduler.model import GPU_MILLI, Decision, Placed, Pod, Reason
from scheduler.placement.cycle import Cycle
from scheduler.placement.demand import Demand
from scheduler.placement.events import PodLeft
from scheduler.placement.state import ClusterState, Shut
from scheduler.queueing.waiting import Waiting

Beside = Sequence[tuple[Waiting, str]]
Kept = Mapping[int, list[Demand]]


class Room(Protocol):
    """The cluster as the queue sees it."""

    @property
    def version(self) -> int:
        """Changes whenever room was gained that the queue did not give back itself."""
        ...

    def place(self, waiting: Waiting, *, again: bool) -> Decision:
        """Choose a node and take the room there, or say why there is none; `again`: it was tried before."""
        ...

    def unplace(self, uid: str) -> None:
        """Give back what `place` took for a pod."""
        ...

    def hold(self, waiting: Waiting, node: str, beside: Beside) -> str:
        """Keep one node from all others until `unhold`, and name it; `beside`: its group's members that have a place.

        It is `node` if that can be had, else the one nearest to having room; "" when no node could ever take the pod.
        """
        ...

    def unhold(self, node: str) -> None:
        """Open the node again."""
        ...


class ClusterRoom:
    """The room of a `ClusterState`, by the decisions of a `Cycle`."""

    def __init__(self, cycle: Cycle) -> None:
        self.cycle = cycle
        self._given_back = 0
        self._shut: dict[str, Shut] = {}

    @property
    def version(self) -> int:
        """How often the state gained room, apart from what was only tried."""
        return self.cycle.state.releases - self._given_back

    def place(self, waiting: Waiting, *, again: bool = False) -> Decision:
        """Decide, and take the room."""
        state = self.cycle.state
        decision = self.cycle.decide(Pod(waiting.uid, waiting.shape), again=again)
        if isinstance(decision, Placed):
            state.place(state.demand(waiting.shape), decision)
        return decision

    def unplace(self, uid: str) -> None:
        """Take it off its node."""
        self.cycle.state.apply(PodLeft(uid))
        self._given_back += 1

    def hold(self, waiting: Waiting, node: str, beside: Beside) -> str:
        """Shut the node that lacks least of what the pod asks."""
        state = self.cycle.state
        demand = state.demand(waiting.shape)
        if demand.admission.refusal:
            return ""
        kept: dict[int, list[Demand]] = {}
        for member, place in beside:
            kept.setdefault(state.number_of[place], []).append(state.demand(member.shape))
        if node not in state.number_of or not could_hold(state, demand, state.number_of[node], kept):
            node = nearest(state, demand, kept)
        if node and node not in self._shut:  # two that reclaim may expect the same node
            self._shut[node] = state.shut(node)
        return node

    def unhold(self, node: str) -> None:
        """Give the node back to everybody; of several for whom it is shut, the first one opens it."""
        shut = self._shut.pop(node, None)
        if shut is not None:
            self.cycle.state.reopen(shut)


def could_hold(state: ClusterState, demand: Demand, number: int, kept: Kept) -> bool:
    """Whether a node could take the pod if nobody else were there but those of its group."""
    profile = state.profiles[state.profile_of[number]]
    question = demand.learn(state.profiles, state.occupancies, state.tenancy)
    together = [demand, *kept.get(number, ())]
    asked = [sum(amounts) for amounts in zip(*(one.request.tolist() for one in together), strict=True)]
    roomy = all(most <= has for most, has in zip(asked, profile.capacity, strict=True))
    fits = question.profile_reasons[state.profile_of[number]] == Reason.FITS
    devices = sum(one.count * one.milli for one in together)
    return bool(roomy and fits and demand.count <= profile.gpus and devices <= profile.gpus * GPU_MILLI)


def nearest(state: ClusterState, demand: Demand, kept: Kept) -> str:
    """The node that lacks the smallest part of what the pod asks; those whose tenants it may not join come last."""
    able = [
        (_lacking(state, demand, number), name)
        for name, number in state.number_of.items()
        if could_hold(state, demand, number, kept)
    ]
    return min(able, default=((True, 0.0), ""))[1]


def _lacking(state: ClusterState, demand: Demand, number: int) -> tuple[bool, float]:
    barred = demand.question.occupancy_reasons[state.occupancy_of[number]] != Reason.FITS
    parts = [
        max(0, asked - free) / asked
        for asked, free in zip(demand.request.tolist(), state.free[number].tolist(), strict=True)
        if asked
    ]
    if demand.count:
        usable = int((state.gpu_free[number] >= demand.milli).sum())
        parts.append(max(0, demand.count - usable) / demand.count)
    return bool(barred), max(parts)
