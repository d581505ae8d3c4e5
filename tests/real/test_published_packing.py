"""Published packing instances, a few of each kind: never worse than the best known, every packing checked."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from benchmarks.packing.__main__ import Report, main

DATA = os.environ.get("BULKHEAD_DATA", "")

pytestmark = pytest.mark.skipif(
    not DATA, reason="BULKHEAD_DATA does not name a directory with vbp/instances.tar.gz"
)

WANTED = [
    pytest.param("class1_40_3_0", id="pairs and triples in three dimensions"),
    pytest.param("class3_60_10_0", id="ten dimensions"),
    pytest.param("class4_120_5_2", id="correlated dimensions"),
    pytest.param("class6_20_5_*", id="five skewed instances"),
    pytest.param("classC_60_10_*", id="triplets, some with negative sizes"),
    pytest.param("classF_120_5_0", id="triplets that fill every bin"),
]


@pytest.mark.parametrize("only", WANTED)
def test_published_instances_are_packed_at_least_as_well_as_ever(
    only: str, capsys: pytest.CaptureFixture[str]
) -> None:
    vbp = Path(DATA) / "vbp"
    known = [str(vbp / name) for name in ("new_known.csv", "triplet_known.csv")]
    arguments = ["--instances", str(vbp / "instances.tar.gz"), "--known", *known]
    assert main([*arguments, "--only", only, "--seconds", "10", "--json"]) == 0, capsys.readouterr().err
    report = msgspec.json.decode(capsys.readouterr().out, type=Report)
    assert report.finished
    assert all(result.problems == [] for result in report.instances)
    assert all(result.bins <= result.known.best_known for result in report.instances)
