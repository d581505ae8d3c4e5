"""What the packing benchmark says: sums and gaps, and what is left of an interrupted run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.packing.__main__ import collected
from benchmarks.packing.summary import Result, as_table, summaries
from benchmarks.packing.vbp import Known


def make_result(
    name: str, bins: int, known: Known, *, lower_bound: int = 1, problems: tuple[str, ...] = ()
) -> Result:
    return Result(
        name=name,
        family="New",
        class_name=name.split("_", 1)[0],
        items=20,
        dimensions=3,
        bins=bins,
        lower_bound=lower_bound,
        known=known,
        seconds=0.5,
        problems=list(problems),
    )


BETTER = make_result("class1_20_3_0", 9, Known(8, 9, 10))
EQUAL = make_result("class1_20_3_2", 10, Known(8, None, 10), lower_bound=9)
WORSE = make_result("class2_20_3_0", 12, Known(8, None, 10), problems=("bin 0 is empty",))


def test_a_set_is_summed_and_compared_with_every_reference() -> None:
    (row,) = summaries([BETTER, EQUAL, WORSE], lambda result: result.family)
    assert (row.instances, row.verified, row.bins, row.best_known) == (3, 2, 31, 30)
    assert (row.better, row.equal, row.worse, row.proven_optimal) == (1, 1, 1, 1)
    assert (row.published_bound, row.proven_bound) == (24, 26)
    assert (row.with_optimum, row.bins_with_optimum, row.optimum) == (1, 9, 9)
    assert row.gap_best_known_percent == pytest.approx(3.333)
    assert row.gap_proven_bound_percent == pytest.approx(19.231)
    assert row.gap_optimum_percent == 0.0


def test_groups_are_told_apart_and_a_gap_to_no_optimum_is_none() -> None:
    first, second = summaries([WORSE, BETTER, EQUAL], lambda result: result.class_name)
    assert (first.name, first.instances) == ("class1", 2)
    assert (second.name, second.gap_optimum_percent) == ("class2", None)
    assert as_table([first, second]).row_count == 2


def test_an_interruption_leaves_what_is_finished(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> Iterator[Result]:
        yield BETTER
        raise KeyboardInterrupt

    assert collected(interrupted()) == [BETTER]
    assert "interrupted: 1 instances are finished" in capsys.readouterr().err
