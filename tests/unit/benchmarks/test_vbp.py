"""The reader of published packing sets: what it accepts, and where it says a broken file is broken."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from benchmarks.packing.__main__ import main
from benchmarks.packing.vbp import Known, parse, read_archive, read_known
from scheduler.errors import BadInput

GOOD = "2\n100 50\n3\n10 20 1\n-2 30 1\n99 50 2\n"
KNOWN = "instance,lower_bound,optimum,best_known\nclass1_20_3_0,2,-1,3\n"


def test_a_file_is_read_as_it_is_published_negative_sizes_and_demands_included() -> None:
    instance = parse("a.vbp", GOOD, "class1_20_3_0", "New")
    assert instance.capacity == (100, 50)
    assert instance.sizes == ((10, 20), (-2, 30), (99, 50), (99, 50))
    assert instance.class_name == "class1"


BROKEN = [
    pytest.param("", 1, "file ends where the number of dimensions", id="empty"),
    pytest.param("two\n", 1, "not a row of integers: 'two'", id="a word for a number"),
    pytest.param("0\n\n0\n", 1, "0 dimensions", id="no dimensions"),
    pytest.param("2\n100\n", 2, "capacities: 1 numbers instead of 2", id="a capacity short"),
    pytest.param("2\n100 -1\n1\n", 2, "capacity is negative", id="a negative capacity"),
    pytest.param("2\n100 50\n0\n", 3, "0 items", id="no items"),
    pytest.param("2\n100 50\n99999999\n", 3, "99999999 items", id="an absurd number of items"),
    pytest.param("2\n100 50\n2\n10 20 1\n", 5, "file ends where sizes and demand", id="cut short"),
    pytest.param("2\n100 50\n1\n10 20\n", 4, "2 numbers instead of 3", id="an item without demand"),
    pytest.param("2\n100 50\n1\n10 20 0\n", 4, "a demand of 0", id="a demand of nothing"),
    pytest.param("2\n100 50\n1\n10 51 1\n", 4, "larger than an empty bin", id="an item too large"),
    pytest.param("2\n100 50\n1\n10 20 1\n10 20 1\n", 5, "more item lines", id="lines left over"),
]


@pytest.mark.parametrize(("text", "want_line", "want_why"), BROKEN)
def test_a_broken_file_is_refused_with_its_line(text: str, want_line: int, want_why: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse("a.vbp", text, "class1_20_3_0", "New")
    (problem,) = refused.value.problems
    assert (problem.path, problem.line) == ("a.vbp", want_line)
    assert want_why in problem.why


def write_archive(path: Path, text: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("New_instances_multidim/class1/class1_20_3_0.vbp")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text.encode()))
    return path


def test_an_archive_names_its_instances_by_file_and_its_set_by_directory(tmp_path: Path) -> None:
    (instance,) = read_archive(write_archive(tmp_path / "all.tar.gz", GOOD))
    assert (instance.name, instance.family) == ("class1_20_3_0", "New")


def test_an_unproven_optimum_is_read_as_none(tmp_path: Path) -> None:
    table = tmp_path / "known.csv"
    table.write_text(KNOWN)
    assert read_known([table]) == {"class1_20_3_0": Known(2, None, 3)}


BAD_RUNS = [
    pytest.param(GOOD.replace("30 1", "30"), KNOWN, "class1_20_3_0.vbp:5: ", id="broken instance"),
    pytest.param(GOOD, KNOWN.replace("2,-1,3", "2,-1"), "known.csv:2: ", id="broken table row"),
    pytest.param(GOOD, "instance\n", "known.csv:1: the header", id="another table"),
    pytest.param(
        GOOD, KNOWN.replace("_0,", "_1,"), "no published result for class1_20_3_0", id="unknown instance"
    ),
]


@pytest.mark.parametrize(("text", "table", "want_message"), BAD_RUNS)
def test_bad_input_ends_the_benchmark_with_its_place_and_status_2(
    text: str, table: str, want_message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, known = write_archive(tmp_path / "all.tar.gz", text), tmp_path / "known.csv"
    known.write_text(table)
    assert main(["--instances", str(archive), "--known", str(known)]) == 2
    assert want_message in capsys.readouterr().err


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "all.tar.gz"
    path.write_text("not an archive")
    with pytest.raises(BadInput, match="not readable as a tar archive"):
        read_archive(path)
