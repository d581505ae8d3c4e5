"""A directory of tenant files -> a TenantSet, or every Problem in all of them at once. The only reader of
files.

Steps: read -> positions -> decode (shape) -> build (amounts) -> rules across documents.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tenants.files import build, network_rules, positions, reference_rules, rules, tree_rules
from tenants.files.decode import Declared, decode
from tenants.files.problem import Kind, Problem
from tenants.model import TenantSet

SUFFIXES: Final = (".yaml", ".yml")
MAX_BYTES: Final = 8 << 20  # half a million lines: a file of this size is a mistake or an attack


class Sources(NamedTuple):
    """Texts by file name, and a problem for each file that gave none."""

    texts: dict[str, str]
    unreadable: list[Problem]


def load(directory: Path) -> TenantSet | list[Problem]:
    """Read every *.yaml under `directory` (or the one file); problems are sorted by file, line, column."""
    return parse(*read([directory]))


def read(paths: Iterable[Path]) -> Sources:
    """The texts of these files, and of the *.yaml and *.yml files under these directories."""
    sources = Sources({}, [])
    for root in paths:
        files, closed = _files(root)
        sources.unreadable.extend(closed)
        if not files and not closed:
            why = "holds no tenant files"
            sources.unreadable.append(_unreadable(root, why, "name a directory of *.yaml"))
        for path in files:
            text = _text_of(path)
            if isinstance(text, str):
                sources.texts[_shown(path)] = text
            else:
                sources.unreadable.append(text)
    return sources


def parse(texts: Mapping[str, str], already: Iterable[Problem] = ()) -> TenantSet | list[Problem]:
    """The same for texts by file name; reads no file."""
    problems = list(already)
    declared: list[Declared] = []
    nameless: set[str] = set()
    unread = [problem.path for problem in problems]
    for path, text in texts.items():
        documents, found = positions.read(path, text)
        problems += found
        if found and not documents:
            unread.append(path)
        spoken_for = {(problem.line, problem.col) for problem in found}
        for document in documents:
            one, found = decode(document)
            problems += [problem for problem in found if (problem.line, problem.col) not in spoken_for]
            if one is not None:
                declared.append(one)
            elif isinstance(document.value, dict):
                nameless.add(str(document.value.get("name")))
    tenants = build.assemble(declared)
    gaps = reference_rules.Unread(frozenset(nameless), tuple(sorted(unread)))
    problems += reference_rules.problems(declared, tenants, gaps)
    problems += rules.problems(declared)
    problems += tree_rules.problems(declared, tenants)
    problems += network_rules.problems(declared)
    return sorted(set(problems)) or tenants


def _files(root: Path) -> tuple[list[Path], list[Problem]]:
    """`root` itself, or the tenant files under it and the directories that could not be listed.

    Hidden names are skipped: a mounted ConfigMap keeps each file twice, once below `..data`. Links to
    directories are not followed, so no loop can hold us.
    """
    if not os.path.isdir(root):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
        return [root], []
    found: list[Path] = []
    closed: list[Problem] = []
    for place, directories, names in os.walk(root, onerror=lambda error: closed.append(_closed(error))):
        directories[:] = [name for name in directories if not name.startswith(".")]
        found += [Path(place, name) for name in names if name.endswith(SUFFIXES) and not name.startswith(".")]
    return sorted(found), closed


def _closed(error: OSError) -> Problem:
    return _unreadable(Path(os.fsdecode(error.filename)), error.strerror or "can't be listed")


def _shown(path: Path) -> str:
    """The name as text: one that is not UTF-8 must not break the report."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _text_of(path: Path) -> str | Problem:
    try:
        if path.exists() and not path.is_file():
            return _unreadable(path, "is no regular file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            return _unreadable(path, f"is bigger than {MAX_BYTES >> 20} MiB", "split it")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _not_utf8(path, error)
    except (OSError, ValueError) as error:
        return _unreadable(path, str(getattr(error, "strerror", None) or error))


def _not_utf8(path: Path, error: UnicodeDecodeError) -> Problem:
    before = positions.lines_of(error.object[: error.start].decode("utf-8-sig"))
    why = f"byte 0x{error.object[error.start]:02x} is not UTF-8 text"
    return Problem(
        _shown(path), len(before), len(before[-1]) + 1, Kind.UNREADABLE, "", why, "save it as UTF-8"
    )


def _unreadable(path: Path, why: str, suggestion: str = "") -> Problem:
    return Problem(_shown(path), 1, 1, Kind.UNREADABLE, "", why, suggestion)
