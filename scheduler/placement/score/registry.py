"""The scoring policies by name. A policy is told of every arrival and hands out price tables; it never sees the future.

To add one: a key function (`simple`, `fgd`, …), a `Kind`, a class here.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scheduler.model import GPU_MILLI
from scheduler.placement.arrivals import Arrivals
from scheduler.placement.demand import Demand
from scheduler.placement.score.bulkhead import PriceTable
from scheduler.placement.score.cutting_stock import CuttingStock
from scheduler.placement.score.fgd import typical_classes
from scheduler.placement.score.prices import Kind, Prices
from scheduler.placement.score.tables import build, worth_of
from scheduler.placement.state import UNSTATED, ClusterState

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

NO_CLASSES: Float64 = np.zeros((0, 5))
NO_TURNS: Int64 = np.zeros(0, np.int64)
NO_PRICES = PriceTable(
    residual=np.zeros(GPU_MILLI + 1),
    levels=np.zeros(0, np.int64),
    column_of=np.zeros(GPU_MILLI + 1, np.int64),
    misfit=np.zeros((1, 1, 1)),
    starvation=np.zeros((3, 0)),
    filling=np.zeros((4, 0)),
    worth=np.zeros(2),
    reserved=np.zeros((0, 5), np.int64),
    reserve_price=np.zeros(0),
)


class Policy(Protocol):
    """Ranks places. `pricing` changes whenever `prices` does, which makes every ranking start over."""

    identify_nodes: bool
    pricing: int
    prices: Prices

    def begin(self, state: ClusterState) -> None:
        """See the cluster before the first decision."""
        ...

    def observe(self, demand: Demand) -> None:
        """Learn that a pod of this demand has arrived."""
        ...


class Fixed:
    """A policy whose key needs no prices beyond the size of the largest node."""

    kind = Kind.BEST_FIT
    identify_nodes = False

    def __init__(self, seed: int = 0) -> None:
        self.pricing = 0
        self.prices = Prices(
            np.array([self.kind], np.int64),
            np.array([seed], np.int64),
            np.zeros(0),
            NO_CLASSES,
            NO_TURNS,
            NO_PRICES,
        )

    def begin(self, state: ClusterState) -> None:
        """Take the scale of the cluster."""
        self.prices = self.prices._replace(scale=unit_weights(state))
        self.pricing += 1

    def observe(self, demand: Demand) -> None:
        """Learn nothing."""


class Random(Fixed):
    """Any node that fits, by a reproducible draw."""

    kind = Kind.RANDOM
    identify_nodes = True


class FirstFit(Fixed):
    """The first node, in the order they joined, that fits."""

    kind = Kind.FIRST_FIT
    identify_nodes = True


class BestFit(Fixed):
    """The node that is left with the least room."""

    kind = Kind.BEST_FIT


class DotProduct(Fixed):
    """The node whose free room points the same way as the request."""

    kind = Kind.DOT_PRODUCT


class GpuPacking(Fixed):
    """GPUs in use first, then nodes in use, then fresh nodes."""

    kind = Kind.GPU_PACKING


class Fgd(Fixed):
    """Fragmentation gradient descent; the typical mix is learned from arrivals, or given as `history`.

    The mix is taken anew each time the arrivals have grown by a half, so that learning costs a bounded number of
    re-rankings however long the cluster lives.
    """

    kind = Kind.FGD
    identify_nodes = True

    def __init__(self, seed: int = 0, history: Arrivals | None = None) -> None:
        super().__init__(seed)
        self._seed = seed
        self._model_numbers: dict[str, int] = {}
        self._arrived: Arrivals = dict(history or {})
        self._learning = history is None
        self._seen = 0
        self._relearn_at = 1

    def begin(self, state: ClusterState) -> None:
        """Draw the order of the nodes and, where there is one, take the history."""
        super().begin(state)
        self._model_numbers = state.model_numbers
        turns = np.random.default_rng(self._seed).permutation(len(state.nodes))
        self.prices = self.prices._replace(turns=turns.astype(np.int64))
        self._price()

    def observe(self, demand: Demand) -> None:
        """Count the arrival; reprice when enough is new."""
        if not self._learning:
            return
        self._arrived[demand.arrival] = self._arrived.get(demand.arrival, 0) + 1
        self._seen += 1
        if self._seen >= self._relearn_at:
            self._relearn_at = self._seen + self._seen // 2 + 1
            self._price()

    def _price(self) -> None:
        self.prices = self.prices._replace(typical=typical_classes(self._arrived, self._model_numbers))
        self.pricing += 1


class Bulkhead(Fixed):
    """Falls of a potential at prices learned from arrivals; see `bulkhead`.

    Prices are taken anew each time the arrivals have grown by `GROWTH`: a bounded number of times however long the
    cluster lives, and often enough that the first of a kind is not met with stale prices.
    """

    kind = Kind.BULKHEAD
    GROWTH = 1.1

    def __init__(self, seed: int = 0, history: Arrivals | None = None) -> None:
        super().__init__(seed)
        self._arrived: Arrivals = dict(history or {})
        self._seen = sum(self._arrived.values())
        self._reprice_at = 1
        self._stock = CuttingStock()
        self._state: ClusterState | None = None
        self._worth: Float64 = np.zeros(2)

    def begin(self, state: ClusterState) -> None:
        """Remember the cluster, whose free room the prices are set against."""
        super().begin(state)
        self._state = state
        self._worth = worth_of(state)

    def observe(self, demand: Demand) -> None:
        """Count the arrival; reprice when enough is new."""
        self._arrived[demand.arrival] = self._arrived.get(demand.arrival, 0) + 1
        self._seen += 1
        if self._seen >= self._reprice_at and self._state is not None:
            self._reprice_at = int(self._seen * self.GROWTH) + 1
            self.prices = self.prices._replace(
                table=build(self._state, self._arrived, self._stock, self._worth)
            )
            self.pricing += 1


POLICIES: dict[str, type[Fixed]] = {
    "random": Random,
    "first-fit": FirstFit,
    "best-fit": BestFit,
    "dot-product": DotProduct,
    "gpu-packing": GpuPacking,
    "fgd": Fgd,
    "bulkhead": Bulkhead,
}


def unit_weights(state: ClusterState) -> Float64:
    """1 / (largest capacity x resources that count), per resource and for GPU milli; 0 where no node states any."""
    capacities = np.array([profile.capacity for profile in state.profiles], np.float64).reshape(
        -1, len(state.columns)
    )
    capacities[capacities >= UNSTATED] = 0
    gpus = np.array([[profile.gpus * GPU_MILLI] for profile in state.profiles], np.float64).reshape(-1, 1)
    most = np.hstack([capacities, gpus]).max(axis=0, initial=0)
    weights: Float64 = np.divide(
        1.0, most * max((most > 0).sum(), 1), out=np.zeros(len(most)), where=most > 0
    )
    return weights


def make_policy(name: str, seed: int, history: Arrivals | None) -> Policy:
    """The policy of that name; `history` is the mix to assume instead of learning it, where the policy has one."""
    kind = POLICIES[name]
    if issubclass(kind, Fgd | Bulkhead):
        return kind(seed, history)
    return kind(seed)
