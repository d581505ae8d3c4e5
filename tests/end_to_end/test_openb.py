"""The packing that the project stands on, held by one seed of openb: better than FGD that knows the trace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.placement.quality import measure
from benchmarks.placement.traces import Trace, openb_traces


@pytest.fixture(scope="module")
def default_trace() -> Trace:
    data = os.environ.get("BULKHEAD_DATA")
    if not data:
        pytest.skip("BULKHEAD_DATA does not name a directory with the openb trace")
    return next(trace for trace in openb_traces(Path(data)) if trace.name == "default")


@pytest.mark.slow
def test_bulkhead_packs_openb_tighter_than_fgd_that_knows_the_trace(default_trace: Trace) -> None:
    measured = measure(default_trace, ["bulkhead", "fgd-oracle"], [42], lambda _: None)
    ours, oracle = measured.policies
    assert ours.allocation_pct.mean > oracle.allocation_pct.mean
    assert ours.allocation_pct.mean > 95.39, "what was published for FGD"
    assert (ours.violations, oracle.violations) == (0, 0)
    assert ours.placed + ours.refused == 10_850, "the published draw of seed 42"
