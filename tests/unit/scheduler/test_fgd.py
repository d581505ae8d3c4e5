"""Fragmentation against the golden numbers of the published implementation's own tests (condensed class lists)."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from scheduler.placement.arrivals import Arrival
from scheduler.placement.score.fgd import fragmentation, typical_classes

LIST_B = [
    (1000, 0, 0, 0.0954),
    (15700, 1, 1000, 0.8614),
    (60200, 4, 1000, 0.0123),
    (32200, 4, 1000, 0.0101),
    (64000, 8, 1000, 0.0053),
    (64200, 8, 1000, 0.0107),
    (120200, 8, 1000, 0.0048),
]
NEEDS_MORE_CPU = [(2000, 1, 1000, 0.9506)]
ANY = 0
EIGHT = [1000] * 8
HALF_USED = [0, 0, 0, 0, 1000, 1000, 1000, 1000]

GOLDEN = [
    pytest.param(
        1000, [200, 500, 1000, 1000], NEEDS_MORE_CPU, 2566.62, id="mixed gpus, no class has the cpu"
    ),
    pytest.param(1000, [1000] * 4, NEEDS_MORE_CPU, 3802.40, id="four idle gpus, no class has the cpu"),
    pytest.param(1000, EIGHT, NEEDS_MORE_CPU, 7604.80, id="eight idle gpus, no class has the cpu"),
    pytest.param(1000, [200, 500, 1000, 1000], [(6000, 1, 465, 0.0933)], 251.91, id="one class of Q4"),
    pytest.param(64000, EIGHT, LIST_B, 887.20, id="list B on an empty node"),
    pytest.param(32000, HALF_USED, LIST_B, 554.4, id="list B on a half used node"),
    pytest.param(0, HALF_USED, LIST_B, 4000.0, id="list B without cpu"),
]


def table(classes: list[tuple[float, ...]]) -> NDArray[np.float64]:
    """Class rows that accept any GPU model."""
    return np.array([(*row, 0.0) for row in classes], np.float64)


@pytest.mark.parametrize(("cpu", "gpu", "classes", "want"), GOLDEN)
def test_fragmentation_equals_the_golden_number(
    cpu: int, gpu: list[int], classes: list[tuple[float, ...]], want: float
) -> None:
    found = fragmentation(cpu, np.array(gpu, np.int64), ANY, table(classes))
    assert found == pytest.approx(want, abs=0.5)


SATISFIED = [
    pytest.param([200, 500, 1000, 1000], (0, 2, 1000, 1.0), 700, id="two whole leave the fractions"),
    pytest.param([200, 500, 1000, 1000], (0, 2, 200, 1.0), 0, id="two small fit everywhere"),
    pytest.param(EIGHT, (0, 2, 1000, 1.0), 0, id="idle gpus strand nothing"),
]


@pytest.mark.parametrize(("gpu", "shape", "want"), SATISFIED)
def test_a_satisfied_class_strands_only_what_is_too_small_for_it(
    gpu: list[int], shape: tuple[float, ...], want: int
) -> None:
    assert fragmentation(64000, np.array(gpu, np.int64), ANY, table([shape])) == want


def test_typical_classes_are_the_most_popular_that_cover_their_share() -> None:
    kinds = {Arrival(1, 9, 0, 0, ()): 2, Arrival(2, 9, 1, 500, ()): 50, Arrival(3, 9, 1, 1000, ()): 48}
    typical = typical_classes(kinds, {})
    assert typical[:, 0].tolist() == [2, 3]
    assert typical[:, 3].sum() == pytest.approx(1.0)


def test_before_anything_arrived_there_is_no_typical_class() -> None:
    assert typical_classes({}, {}).shape == (0, 5)


def test_a_class_of_another_gpu_model_strands_everything() -> None:
    kinds = {Arrival(0, 0, 1, 1000, ("T4",)): 1}
    typical = typical_classes(kinds, {"T4": 0, "V100": 1})
    assert fragmentation(64000, np.array(EIGHT, np.int64), 0, typical) == 0
    assert fragmentation(64000, np.array(EIGHT, np.int64), 1, typical) == 8000
