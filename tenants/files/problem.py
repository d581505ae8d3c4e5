"""One thing wrong with a tenant file, as a value.

Every step of loading makes them; `report` prints them. Pure.
"""

from __future__ import annotations

import difflib
import enum
import heapq
import operator
from collections.abc import Iterable
from typing import Final

import msgspec

_LONG: Final = 80  # letters of a value that a message shows, and of a word that is compared
_COMPARED: Final = 100  # words that are compared with a misspelt one
_TYPO: Final = 2  # letters that a misspelling adds or loses
_MANY: Final = 12  # words that a suggestion lists


class Kind(enum.StrEnum):
    """Class of the error: the rule id in JSON and SARIF. Each has a broken fixture in tests/."""

    UNREADABLE = "unreadable"
    SYNTAX = "syntax"
    TAB = "tab-indentation"
    EMPTY = "empty-file"
    ALIAS = "alias"
    DUPLICATE_KEY = "duplicate-key"
    BAD_KEY = "bad-key"
    YAML_1_1_BOOLEAN = "yaml-1.1-boolean"
    YAML_1_1_NUMBER = "yaml-1.1-number"
    UNKNOWN_KIND = "unknown-kind"
    UNKNOWN_FIELD = "unknown-field"
    MISSING_FIELD = "missing-field"
    WRONG_TYPE = "wrong-type"
    WRONG_VALUE = "wrong-value"
    QUANTITY = "quantity"
    NAME = "name"
    DUPLICATE_NAME = "duplicate-name"
    UNKNOWN_REFERENCE = "unknown-reference"
    CYCLE = "cycle"
    RUNTIME = "runtime"
    GUARANTEED_OVER_PARENT = "guaranteed-over-parent"
    GUARANTEED_OVER_ALLOCATABLE = "guaranteed-over-allocatable"
    MAX_UNDER_GUARANTEED = "max-under-guaranteed"
    LEND_OVER_GUARANTEED = "lend-over-guaranteed"
    QUOTA_TWICE = "quota-declared-twice"
    NOT_STATED = "dimension-not-stated"
    NAMESPACE_OVERLAP = "namespace-overlap"
    CIDR = "cidr"
    EXCEPT_OUTSIDE = "except-outside-cidr"
    METADATA_ADDRESS = "metadata-address"
    PORT = "port"


class Problem(msgspec.Struct, frozen=True, order=True):
    """`path` is the file, `line` and `col` count from 1, `where` is the path inside the document."""

    path: str
    line: int
    col: int
    kind: Kind
    where: str
    why: str
    suggestion: str = ""

    def __str__(self) -> str:
        """`file:line:col: where: why; suggestion`, which editors and CI systems turn into a link."""
        place = f"{self.path}:{self.line}:{self.col}: "
        subject = f"{self.where}: " if self.where else ""
        hint = f"; {self.suggestion}" if self.suggestion else ""
        return f"{place}{subject}{self.why}{hint}"


def did_you_mean(written: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` for the closest known word, else the known words, else nothing."""
    wanted = written[:_LONG].lower()
    words = {word.lower(): word for word in sorted(known)}
    close = difflib.get_close_matches(wanted, _alike(wanted, list(words)), n=1, cutoff=0.6)
    if close:
        return f"did you mean {words[close[0]]!r}?"
    if len(words) <= _MANY:
        return f"one of: {', '.join(words.values())}" if words else ""
    return f"{len(words)} are known, such as {', '.join(list(words.values())[:3])}"


def _alike(wanted: str, words: list[str]) -> list[str]:
    """Of many words those that are worth a comparison: it takes 4 µs a word, too much for thousands of names."""
    if len(words) <= _COMPARED:
        return words
    near = (word for word in words if word[:1] == wanted[:1] and abs(len(word) - len(wanted)) <= _TYPO)
    return heapq.nlargest(_COMPARED, near, key=lambda word: sum(map(operator.eq, word, wanted)))


def quoted(value: object) -> str:
    """The value as it was understood, cut where it is too long for a message."""
    written = repr(value) if isinstance(value, (str, int, bool)) else type(value).__name__
    return written if len(written) <= _LONG else f"{written[: _LONG - 1]}…"
