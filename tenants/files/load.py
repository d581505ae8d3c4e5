"""A directory of tenant files -> a TenantSet, or every Problem in all of them at once. The only reader of
files.

Steps: read -> positions -> decode (shape) -> build (amounts) -> rules across documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tenants.files import build, network_rules, positions, rules, tree_rules
from tenants.files.decode import Declared, decode
from tenants.files.problem import Kind, Problem
from tenants.model import TenantSet

SUFFIXES = (".yaml", ".yml")


def load(directory: Path) -> TenantSet | list[Problem]:
    """Read every *.yaml under `directory` (or the one file); problems are sorted by file, line, column."""
    texts: dict[str, str] = {}
    unreadable: list[Problem] = []
    for path in _files(directory):
        try:
            texts[str(path)] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "is not UTF-8 text"
            unreadable.append(Problem(str(path), 1, 1, Kind.UNREADABLE, "", why))
    if not texts and not unreadable:
        return [
            Problem(
                str(directory),
                1,
                1,
                Kind.UNREADABLE,
                "",
                "holds no tenant files",
                "name a directory of *.yaml",
            )
        ]
    return parse(texts, unreadable)


def parse(texts: Mapping[str, str], already: Iterable[Problem] = ()) -> TenantSet | list[Problem]:
    """The same for texts by file name; reads no file."""
    problems = list(already)
    declared: list[Declared] = []
    for path, text in texts.items():
        documents, found = positions.read(path, text)
        problems += found
        for document in documents:
            decoded = decode(document)
            if isinstance(decoded, Declared):
                declared.append(decoded)
            else:
                problems += decoded
    tenants, found = build.assemble(declared)
    problems += found
    problems += rules.problems(declared, tenants)
    problems += tree_rules.problems(declared, tenants)
    problems += network_rules.problems(declared)
    return sorted(set(problems)) or tenants


def _files(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return [directory]
    return sorted(path for path in directory.rglob("*") if path.suffix in SUFFIXES and path.is_file())
