"""Problems for people and for machines: carets, escapes, JSON, SARIF."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tenants.files import report
from tenants.files.load import Sources, parse
from tenants.files.problem import Kind, Problem, did_you_mean, quoted
from tenants.model import TenantSet


def problem(line: int, col: int, why: str = "is wrong", path: str = "a.yaml", where: str = "x") -> Problem:
    return Problem(path, line, col, Kind.WRONG_VALUE, where, why, "mend it")


@pytest.mark.parametrize(
    ("line", "col", "want_shown", "want_blanks"),
    [
        pytest.param("name: x", 7, "name: x", 6, id="a letter in the middle"),
        pytest.param("\tname: x", 8, " name: x", 7, id="a tab is one blank"),
        pytest.param("名前: x", 5, "名前: x", 6, id="wide letters take two columns"),
        pytest.param("e\u0301: x", 5, "e\u0301: x", 3, id="a combining mark takes none"),
        pytest.param("a: \x1b[2J", 5, "a: \\u001b[2J", 9, id="an escape sequence is spelled out"),
        pytest.param("a: \u202eb", 4, "a: \\u202eb", 3, id="so is a change of writing direction"),
        pytest.param("", 1, "", 0, id="an empty line"),
        pytest.param("ab", 3, "ab", 2, id="behind the end"),
    ],
)
def test_the_caret_stands_under_the_column(line: str, col: int, want_shown: str, want_blanks: int) -> None:
    shown = report.text([problem(1, col)], {"a.yaml": line})
    assert shown == (
        f"a.yaml:1:{col}: x: is wrong; mend it\n    1 | {want_shown}\n      | {' ' * want_blanks}^\n"
    )


def test_of_a_very_long_line_only_what_is_near_the_column_is_shown() -> None:
    shown = report.text([problem(1, 5001)], {"a.yaml": "a" * 5000 + "!" + "b" * 5000}).splitlines()
    assert max(map(len, shown)) < 140
    assert shown[1][shown[2].index("^")] == "!"


def test_colour_is_only_added_never_text() -> None:
    plain = report.text([problem(1, 1)], {"a.yaml": "x"})
    coloured = report.text([problem(1, 1)], {"a.yaml": "x"}, colour=True)
    assert "\x1b[" not in plain
    assert "\x1b[31m^" in coloured
    for code in ("\x1b[31m", "\x1b[1m", "\x1b[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == plain


def test_neither_a_path_nor_a_message_can_forge_a_line() -> None:
    shown = report.text([problem(9, 1, path="a\nb.yaml:1:1: fine", where="k\r\x1b[2K")], {})
    assert shown.count("\n") == 1
    assert "\x1b" not in shown


def test_the_summary_counts_problems_and_files_or_tenants() -> None:
    sources = Sources({"a.yaml": "", "b.yaml": ""}, [])
    assert report.summary([problem(1, 1), problem(2, 1)], sources) == "2 problems in 1 of 2 files"
    assert report.summary(TenantSet(), sources) == "no problem in 2 files: 0 tenants, 0 groups"


def sarif_of(*problems: Problem) -> Any:
    return json.loads(report.sarif(problems))


def test_sarif_has_what_code_scanning_needs() -> None:
    """GitHub: version, driver name and rules, and for each result a message, a rule, a relative URI, a region."""
    log = sarif_of(problem(3, 7, path="tenants/with blank.yaml"))
    assert log["version"] == "2.1.0"
    [run] = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == [kind.value for kind in Kind]
    assert all(rule["shortDescription"]["text"] for rule in run["tool"]["driver"]["rules"])
    [result] = run["results"]
    assert result["ruleId"] == rules[result["ruleIndex"]] == "wrong-value"
    assert result["message"]["text"] == "x: is wrong; mend it"
    [location] = result["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "tenants/with%20blank.yaml"},
        "region": {"startLine": 3, "startColumn": 7},
    }


def test_sarif_without_problems_is_a_run_without_results() -> None:
    """An empty list closes the alerts of the run before; a missing one is an error."""
    assert sarif_of()["runs"][0]["results"] == []


def test_one_mistake_is_reported_once_and_echoes_nothing() -> None:
    """The broken trust, quota and name of one document make no follow-up problem in it or in others."""
    head = "apiVersion: bulkhead.dev/v1\nkind: Tenant\nname: {}\n"
    first = (
        head.format("a") + "trust: x\nisolation: {runtime: runc}\nquota: {default: {cpu: 1, memory: 4 Gb}}\n"
    )
    second = head.format("B") + "quota: {default: {cpu: 1, memory: 1}}\n"
    third = head.format("c") + "quota: {default: {cpu: 1, memory: 1}}\nisolation: {neverWith: [a]}\n"
    found = parse({"1": first, "2": second, "3": third})
    assert isinstance(found, list)
    assert [(p.path, p.kind) for p in found] == [
        ("1", Kind.WRONG_VALUE), ("1", Kind.QUANTITY), ("2", Kind.NAME),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "known", "want"),
    [
        ("memroy", ["cpu", "memory"], "did you mean 'memory'?"),
        ("tcp", ["TCP", "UDP"], "did you mean 'TCP'?"),
        ("zzz", ["b", "a"], "one of: a, b"),
        ("zzz", [], ""),
        ("zzz", [f"n{i:02}" for i in range(20)], "20 are known, such as n00, n01, n02"),
        ("team-77x", [f"team-{i}" for i in range(1000)], "did you mean 'team-77'?"),
    ],
)
def test_a_suggestion_is_the_closest_word_else_a_short_list(
    written: str, known: list[str], want: str
) -> None:
    assert did_you_mean(written, known) == want


def test_a_value_in_a_message_is_cut() -> None:
    assert len(quoted("x" * 10_000)) <= 80
    assert quoted(["a"]) == "list"
