"""Problems as text with the source line and a caret, as JSON, or as SARIF for code scanning. Pure.

Called by the commands. What comes from a file is shown with every unprintable character escaped: a tenant
file must not be able to write to the terminal of the one who checks it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from tenants.files.load import Sources
from tenants.files.positions import lines_of
from tenants.files.problem import Kind, Problem
from tenants.model import TenantSet

_RED, _BOLD, _PLAIN = "\x1b[31m", "\x1b[1m", "\x1b[0m"
_SHOWN: Final = 120  # characters of a source line; a longer one is shown from where the caret needs it
_SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def text(problems: Iterable[Problem], texts: Mapping[str, str], *, colour: bool = False) -> str:
    """Each problem as `file:line:col: path: why; suggestion`, its source line, and a caret under the column."""
    lines = {path: lines_of(written) for path, written in texts.items()}
    return "".join(_one(problem, lines.get(problem.path, []), colour=colour) for problem in problems)


def summary(found: TenantSet | list[Problem], sources: Sources) -> str:
    """One line: what is wrong in how many files, or what the files describe."""
    files = _count(len(sources.texts) + len(sources.unreadable), "file")
    if isinstance(found, TenantSet):
        parts = [_count(len(found.tenants), "tenant"), _count(len(found.groups), "group")]
        return f"no problem in {files}: {', '.join(parts)}"
    broken = len({problem.path for problem in found})
    return f"{_count(len(found), 'problem')} in {broken} of {files}"


def as_json(problems: Iterable[Problem], sources: Sources) -> str:
    """`{"files": n, "problems": [{path, line, col, kind, where, why, suggestion}]}`."""
    files = len(sources.texts) + len(sources.unreadable)
    return msgspec.json.encode({"files": files, "problems": list(problems)}).decode()


def sarif(problems: Iterable[Problem]) -> str:
    """A SARIF 2.1.0 log with one rule for each `Kind`."""
    rules = [
        {
            "id": kind.value,
            "name": "".join(word.capitalize() for word in re.split(r"[-.]", kind.value)),
            "shortDescription": {"text": kind.value.replace("-", " ")},
            "defaultConfiguration": {"level": "error"},
        }
        for kind in Kind
    ]
    driver = {"name": "bulkhead tenants check", "rules": rules}
    log = {
        "$schema": _SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": [_sarif_result(problem) for problem in problems],
            }
        ],
    }
    return msgspec.json.encode(log).decode()


def _sarif_result(problem: Problem) -> dict[str, Any]:
    subject = f"{problem.where}: " if problem.where else ""
    hint = f"; {problem.suggestion}" if problem.suggestion else ""
    place = {
        "artifactLocation": {"uri": quote(problem.path)},
        "region": {"startLine": problem.line, "startColumn": problem.col},
    }
    return {
        "ruleId": problem.kind.value,
        "ruleIndex": list(Kind).index(problem.kind),
        "level": "error",
        "message": {"text": f"{subject}{problem.why}{hint}"},
        "locations": [{"physicalLocation": place}],
    }


def _one(problem: Problem, lines: list[str], *, colour: bool) -> str:
    bold, red, plain = (_BOLD, _RED, _PLAIN) if colour else ("", "", "")
    place, _, message = _printable(str(problem)).partition(f":{problem.line}:{problem.col}: ")
    head = f"{bold}{place}:{problem.line}:{problem.col}:{plain} {message}\n"
    if problem.line > len(lines):
        return head
    before, after = _window(lines[problem.line - 1], problem.col - 1)
    number, blank = f"{problem.line:>5} | ", f"{'':>5} | "
    return f"{head}{number}{before}{after}\n{blank}{' ' * _width(before)}{red}^{plain}\n"


def _window(line: str, offset: int) -> tuple[str, str]:
    """The printable parts of a line before and from `offset`; far out, only what is near it."""
    start = 0 if offset < _SHOWN else offset - _SHOWN // 2
    before = _printable(line[start:offset].replace("\t", " "))
    after = _printable(line[offset : start + _SHOWN].replace("\t", " "))
    return before, after.rstrip()


def _printable(written: str) -> str:
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in written)


def _width(written: str) -> int:
    """Terminal columns: wide letters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in written
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
