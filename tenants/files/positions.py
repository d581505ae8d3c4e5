"""YAML text -> plain values and the position of each, with everything refused that two readers would read
differently: duplicate keys, YAML 1.1 booleans, aliases, tabs. Pure; `load` hands it the text of one file.

The C parser gives events with marks (docs/decisions/0201 has the speeds); values are made here, by the YAML
1.2 core rules, and a number with a point stays text so that quantities remain exact.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import yaml

from tenants.files.problem import Kind, Problem, quoted

Loc = tuple[str | int, ...]
MAX_DEPTH: Final = 32  # a tenant file nests 6 deep; the parser alone would follow any depth into a crash

_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})", re.ASCII)
_CORE: Final = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "Null": None, "NULL": None, "~": None, "": None,
}  # fmt: skip
_OLD_BOOLEANS: Final = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_STANDARD_TAG: Final = "tag:yaml.org,2002:"
_LONGEST_BOOLEAN: Final = 3
_NUMBERS_BEGIN: Final = "+-0123456789"
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


class Spot(NamedTuple):
    """The start of a value, and of what is in it: by key (the key's own start first) or by index.

    Marks are turned into a `Place` when a problem needs one: of ten thousand values hardly any does.
    """

    mark: Any
    inside: dict[str, tuple[Any, Spot]] | list[Spot] | None = None


class Document(NamedTuple):
    """One YAML document: its value, and where everything in it stands."""

    path: str
    value: Any
    root: Spot

    def problem(self, loc: Loc, kind: Kind, why: str, suggestion: str = "", *, key: bool = False) -> Problem:
        """A problem at `loc`, or at the closest ancestor that is written down; `key`: point at its key."""
        return Problem(self.path, *self.place(loc, key=key), kind, spell(loc), why, suggestion)

    def place(self, loc: Loc, *, key: bool = False) -> Place:
        """Start of the value at `loc`, or of its key; of the closest ancestor if it is not written down."""
        *_, (key_mark, spot) = self._way(loc)
        return _place(key_mark if key else spot.mark)

    def written(self, loc: Loc) -> Loc:
        """`loc` itself, or the closest ancestor that is written down."""
        return loc[: len([*self._way(loc)]) - 1]

    def _way(self, loc: Loc) -> Iterator[tuple[Any, Spot]]:
        """(start of its key, where it is) of the root and then of each step, as far as they are written."""
        mark, spot = self.root.mark, self.root
        yield mark, spot
        for step in loc:
            inside = spot.inside
            if isinstance(inside, dict) and step in inside:
                mark, spot = inside[step]
            elif isinstance(inside, list) and isinstance(step, int) and step < len(inside):
                mark, spot = inside[step].mark, inside[step]
            else:
                return
            yield mark, spot


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
    reader = _Reader(path, text)
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
    """One pass over the parser's events; collects problems as it makes values.

    `trail` is the way to the value that is being read. Types are compared by identity and scalars are told
    apart by their first letter, since this loop is most of the time that a check takes.
    """

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.next_event: Callable[[], Any] = yaml.CSafeLoader(text).get_event
        self.problems: list[Problem] = []
        self.trail: list[str | int] = []

    def documents(self) -> Iterator[Document]:
        """The documents that say something; one that is empty or only a comment is skipped."""
        while type(event := self.next_event()) is not yaml.StreamEndEvent:
            if type(event) is yaml.DocumentStartEvent:
                value, root = self._value(self.next_event())
                if value is not None:
                    yield Document(self.path, value, root)

    def _value(self, event: Any) -> tuple[Any, Spot]:
        if event.__class__ is yaml.ScalarEvent:
            return self._scalar(event), Spot(event.start_mark)
        if event.__class__ is yaml.AliasEvent:
            why = f"the alias *{str(event.anchor)[:40]} is not accepted"
            raise self._stop(event, Kind.ALIAS, tuple(self.trail), why, "write the value out")
        if len(self.trail) >= MAX_DEPTH:
            why = f"nested deeper than {MAX_DEPTH} levels"
            raise self._stop(event, Kind.SYNTAX, tuple(self.trail[:4]), why)
        if event.tag is not None:
            self._refuse_tag(event)
        return self._mapping(event) if event.__class__ is yaml.MappingStartEvent else self._sequence(event)

    def _mapping(self, start: Any) -> tuple[dict[str, Any], Spot]:
        values: dict[str, Any] = {}
        spots: dict[str, tuple[Any, Spot]] = {}
        while (event := self.next_event()).__class__ is not yaml.MappingEndEvent:
            if event.__class__ is not yaml.ScalarEvent:
                why = "a key must be one word, not a list, mapping or alias"
                raise self._stop(event, Kind.BAD_KEY, tuple(self.trail), why)
            name: str = event.value
            self.trail.append(name)
            if event.tag is not None:
                self._refuse_tag(event)
            if len(name) <= _LONGEST_BOOLEAN:
                self._refuse_old_boolean(event)
            stated = self.next_event()
            value, spot = self._value(stated)
            if _is_nowhere(stated, event):
                spot = Spot(event.start_mark)
            if name in spots:
                why = f"key {quoted(name)} is written twice, first in line {_place(spots[name][0]).line}"
                self._note(event, Kind.DUPLICATE_KEY, why, "keep one of them")
            else:
                values[name], spots[name] = value, (event.start_mark, spot)
            self.trail.pop()
        return values, Spot(start.start_mark, spots)

    def _sequence(self, start: Any) -> tuple[list[Any], Spot]:
        values: list[Any] = []
        spots: list[Spot] = []
        while (event := self.next_event()).__class__ is not yaml.SequenceEndEvent:
            self.trail.append(len(values))
            value, spot = self._value(event)
            self.trail.pop()
            values.append(value)
            spots.append(spot)
        return values, Spot(start.start_mark, spots)

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if event.tag is not None:
            self._refuse_tag(event)
        if event.style:
            return text
        if text in _CORE:
            return _CORE[text]
        if text[0] in _NUMBERS_BEGIN:
            return self._number(event, text)
        if len(text) <= _LONGEST_BOOLEAN:
            self._refuse_old_boolean(event)
        return text

    def _number(self, event: Any, text: str) -> str | int:
        if _OLD_NUMBER.fullmatch(text):
            why = f"YAML readers disagree about the number {text[:40]}"
            self._note(
                event, Kind.YAML_1_1_NUMBER, why, "write it in decimal digits, or in quotes if it is a word"
            )
        return int(text) if _INTEGER.fullmatch(text) else text

    def _refuse_tag(self, event: Any) -> None:
        self._note(
            event,
            Kind.SYNTAX,
            f"the tag {quoted(event.tag.replace(_STANDARD_TAG, '!!'))} has no meaning here",
            "remove it",
        )

    def _refuse_old_boolean(self, event: Any) -> None:
        meant = None if event.style else _OLD_BOOLEANS.get(event.value.lower())
        if meant is not None:
            why = f"{event.value!r} is a boolean to some YAML readers and a word to others"
            fix = f'write {meant}, or "{event.value}" for the word'
            self._note(event, Kind.YAML_1_1_BOOLEAN, why, fix)

    def _note(self, event: Any, kind: Kind, why: str, suggestion: str) -> None:
        where = spell(tuple(self.trail))
        self.problems.append(Problem(self.path, *_place(event.start_mark), kind, where, why, suggestion))

    def _stop(self, event: Any, kind: Kind, loc: Loc, why: str, suggestion: str = "") -> _StopReadingError:
        place = _place(event.start_mark)
        return _StopReadingError(Problem(self.path, *place, kind, spell(loc), why, suggestion))


def _is_nowhere(stated: Any, key: Any) -> bool:
    """Whether a value is missing so that the parser puts it at the next token: after `? key`, which needs no colon."""
    missing = stated.__class__ is yaml.ScalarEvent and not stated.value and not stated.style
    return missing and stated.start_mark.line != key.end_mark.line


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


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
