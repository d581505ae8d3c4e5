"""One broken file for each class of error: exactly these problems, each at exactly this line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenants.files import report
from tenants.files.load import load, read
from tenants.files.problem import Kind
from tenants.model import TenantSet
from tests.support.tenant_files import BROKEN, FIXTURES, GOOD, SIDE_CARS, problems_in, wanted_in


@pytest.fixture(autouse=True)
def _beside_the_broken_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FIXTURES / "broken")  # so that messages name files as the side cars do


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_file_reports_exactly_its_problems_with_their_places(path: Path) -> None:
    found = problems_in(path.relative_to(FIXTURES / "broken"))
    assert [f"[{problem.kind}] {problem}" for problem in found] == wanted_in(path)


@pytest.mark.parametrize(
    "path", sorted(Path(FIXTURES / "broken").glob("*.caret")), ids=lambda path: path.stem
)
def test_the_text_shows_the_source_line_and_a_caret_under_the_column(path: Path) -> None:
    source = Path(path.with_suffix(".yaml").name)
    assert report.text(problems_in(source), read([source]).texts) == path.read_text()


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_file_has_no_problem(path: Path) -> None:
    assert isinstance(load(path), TenantSet)


def test_every_class_of_error_has_a_broken_file() -> None:
    told = {line.partition("]")[0].removeprefix("[") for path in BROKEN for line in wanted_in(path)}
    assert told == {kind.value for kind in Kind}


def test_no_side_car_is_left_without_its_file() -> None:
    stems = {path.stem for path in BROKEN}
    orphans = [
        p.name for p in (FIXTURES / "broken").iterdir() if p.suffix in SIDE_CARS and p.stem not in stems
    ]
    assert orphans == []


def test_a_broken_file_names_a_line_that_it_has_and_a_column_on_it() -> None:
    for path in BROKEN:
        for problem in problems_in(path):
            lines = Path(problem.path).read_text(encoding="utf-8", errors="replace").split("\n")
            assert 1 <= problem.line <= len(lines)
            assert 1 <= problem.col <= len(lines[problem.line - 1]) + 1
