"""YAML text -> plain values and the position of each, with everything refused that two readers would read
differently: duplicate keys, YAML 1.1 booleans, aliases, tabs. Pure; `load` hands it the text of one file.

The C parser gives events with marks (docs/decisions/0201 has the speeds); values are made here, by the YAML
1.2 core rules, and a number with a point stays text so that quantities remain exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import yaml

from tenants.files.problem import Kind, Problem

Loc = tuple[str | int, ...]
MAX_DEPTH: Final = 32  # a tenant file nests 6 deep; the parser alone would follow any depth into a crash

_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})", re.ASCII)
_CORE: Final = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "Null": None, "NULL": None, "~": None, "": None,
}  # fmt: skip
_OLD_BOOLEANS: Final = {"yes": "true", "on": "true", "no": "false", "off": "false"}
# Octal, hexadecimal, binary, grouped and base-60 numbers: 010 is 8 in YAML 1.1 and 10 in YAML 1.2.
_OLD_NUMBER: Final = re.compile(
    r"[-+]?(0[0-9_]+|0[xob][0-9a-fA-F_]+|[1-9][0-9]*_[0-9_]*|[1-9][0-9]*(:[0-5]?[0-9])+)", re.ASCII
)
_BREAK: Final = re.compile("\r\n|\r|\n")
# NEL, LS and PS end a line in YAML 1.1 and are letters in YAML 1.2, so no reader may have to choose.
_NOT_TEXT: Final = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


class Place(NamedTuple):
    """Where something starts; both count from 1."""

    line: int
    col: int


class Document(NamedTuple):
    """One YAML document: its value, and for each location the place of its key and of its value."""

    path: str
    value: Any
    keys: dict[Loc, Place]
    values: dict[Loc, Place]

    def problem(self, loc: Loc, kind: Kind, why: str, suggestion: str = "", *, key: bool = False) -> Problem:
        """A problem at `loc`, or at the closest ancestor that is written down; `key`: point at its key."""
        known = self.written(loc)
        place = self.keys.get(known) if key else None
        line, col = place or self.values[known]
        return Problem(self.path, line, col, kind, spell(loc), why, suggestion)

    def written(self, loc: Loc) -> Loc:
        """`loc` itself, or the closest ancestor that is written down."""
        while loc and loc not in self.values:
            loc = loc[:-1]
        return loc


def spell(loc: Loc) -> str:
    """("network", "allowFrom", 0, "cidr") as network.allowFrom[0].cidr."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def lines_of(text: str) -> list[str]:
    """Its lines as the parser counts them; at least one."""
    return _BREAK.split(text)


def read(path: str, text: str) -> tuple[list[Document], list[Problem]]:
    """Every document of one file, and everything wrong with how it is written."""
    unprintable = _NOT_TEXT.search(text)
    if unprintable is not None:
        place = _place_of(text, unprintable.start())
        why = f"character U+{ord(unprintable.group()):04X} is not allowed in YAML"
        return [], [Problem(path, *place, Kind.SYNTAX, "", why, "remove it")]
    reader = _Reader(path, yaml.parse(text, Loader=yaml.CSafeLoader))
    try:
        documents = list(reader.documents())
    except yaml.YAMLError as error:
        return [], [_syntax_problem(path, text, error)]
    except _StopReadingError as stop:
        return [], [stop.problem]
    if not documents and not reader.problems:
        reader.problems.append(Problem(path, 1, 1, Kind.EMPTY, "", "the file holds no document", "write one"))
    return documents, reader.problems


class _StopReadingError(Exception):
    """The rest of the file can't be read any more; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


class _Reader:
    """One pass over the parser's events; collects places and problems as it makes values."""

    def __init__(self, path: str, events: Iterator[yaml.Event]) -> None:
        self.path = path
        self.events = events
        self.problems: list[Problem] = []
        self.keys: dict[Loc, Place] = {}
        self.values: dict[Loc, Place] = {}

    def documents(self) -> Iterator[Document]:
        """The documents that say something; one that is empty or only a comment is skipped."""
        for event in self.events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            self.keys, self.values = {}, {}
            value = self._value(next(self.events), ())
            if value is not None:
                yield Document(self.path, value, self.keys, self.values)

    def _value(self, event: yaml.Event, loc: Loc) -> Any:
        self.values[loc] = _start(event)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, loc)
        if isinstance(event, yaml.AliasEvent):
            why = f"the alias *{event.anchor} is not accepted"
            raise self._stop(event, Kind.ALIAS, loc, why, "write the value out")
        if len(loc) >= MAX_DEPTH:
            raise self._stop(event, Kind.SYNTAX, loc[:4], f"nested deeper than {MAX_DEPTH} levels")
        self._refuse_tag(event, loc)
        if isinstance(event, yaml.MappingStartEvent):
            return dict(self._entries(loc))
        return [
            self._value(item, (*loc, index)) for index, item in enumerate(self._until(yaml.SequenceEndEvent))
        ]

    def _entries(self, loc: Loc) -> Iterator[tuple[str, Any]]:
        seen: dict[str, Place] = {}
        for event in self._until(yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._stop(
                    event, Kind.BAD_KEY, loc, "a key must be one word, not a list, mapping or alias"
                )
            name, place = event.value, _start(event)
            here = (*loc, name)
            if name in seen:
                why = f"key {name!r} is written twice, first in line {seen[name].line}"
                self._note(place, Kind.DUPLICATE_KEY, here, why, "keep one of them")
            else:
                self.keys[here] = place
            self._refuse_old_boolean(event, here)
            value = self._value(next(self.events), here)
            if name not in seen:
                yield name, value
            seen.setdefault(name, place)

    def _until(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        for event in self.events:
            if isinstance(event, end):
                return
            yield event

    def _scalar(self, event: yaml.ScalarEvent, loc: Loc) -> str | int | bool | None:
        text: str = event.value
        self._refuse_tag(event, loc)
        if event.style:
            return text
        if text in _CORE:
            return _CORE[text]
        self._refuse_old_boolean(event, loc)
        if _OLD_NUMBER.fullmatch(text):
            why = f"YAML readers disagree about the number {text[:40]}"
            fix = "write it in decimal digits, or in quotes if it is a word"
            self._note(_start(event), Kind.YAML_1_1_NUMBER, loc, why, fix)
        return int(text) if _INTEGER.fullmatch(text) else text

    def _refuse_tag(self, event: yaml.Event, loc: Loc) -> None:
        tag: str | None = getattr(event, "tag", None)
        if tag is not None:
            self._note(_start(event), Kind.SYNTAX, loc, f"the tag {tag} has no meaning here", "remove it")

    def _refuse_old_boolean(self, event: yaml.ScalarEvent, loc: Loc) -> None:
        meant = None if event.style else _OLD_BOOLEANS.get(event.value.lower())
        if meant is not None:
            why = f"{event.value!r} is a boolean to some YAML readers and a word to others"
            fix = f'write {meant}, or "{event.value}" for the word'
            self._note(_start(event), Kind.YAML_1_1_BOOLEAN, loc, why, fix)

    def _note(self, place: Place, kind: Kind, loc: Loc, why: str, suggestion: str = "") -> None:
        self.problems.append(Problem(self.path, *place, kind, spell(loc), why, suggestion))

    def _stop(
        self, event: yaml.Event, kind: Kind, loc: Loc, why: str, suggestion: str = ""
    ) -> _StopReadingError:
        return _StopReadingError(Problem(self.path, *_start(event), kind, spell(loc), why, suggestion))


def _start(event: yaml.Event) -> Place:
    mark = event.start_mark
    return Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)


def _place_of(text: str, offset: int) -> Place:
    before = lines_of(text[:offset])
    return Place(len(before), len(before[-1]) + 1)


def _syntax_problem(path: str, text: str, error: yaml.YAMLError) -> Problem:
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem(path, 1, 1, Kind.SYNTAX, "", f"not YAML: {str(error)[:200]}")
    lines = lines_of(text.rstrip())
    mark = error.problem_mark or error.context_mark
    if mark and error.context_mark and mark.line >= len(lines):
        mark = error.context_mark  # the end of the text says nothing, where the open bracket is does
    line, col = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    if line > len(lines):
        line, col = len(lines), len(lines[-1]) + 1
    written = lines[line - 1]
    if "\t" in written[: len(written) - len(written.lstrip())]:
        column = written.index("\t") + 1
        return Problem(
            path, line, column, Kind.TAB, "", "a tab indents this line", "YAML is indented by spaces"
        )
    why = " ".join(part for part in (error.problem, error.context) if part)
    return Problem(path, line, col, Kind.SYNTAX, "", f"not YAML: {why or 'the text ends too early'}")
