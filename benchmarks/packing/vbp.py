"""Reads the published vector bin packing sets: archives of `.vbp` files, and tables of the best known results.

A `.vbp` file holds integers: the number of dimensions, the capacities, the number of item lines, then per line the
sizes of an item and its demand. Some published sizes are negative; they are taken as they are. Called by
`benchmarks.packing`.
"""

from __future__ import annotations

import csv
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from scheduler.errors import BadInput, Problem

HEADER = ["instance", "lower_bound", "optimum", "best_known"]
MOST_ITEMS = 100_000  # more is taken for a broken file


class Published(msgspec.Struct, frozen=True):
    """One instance of an archive: `sizes` has one row per item, the demand multiplied out."""

    name: str
    family: str  # the set: New, Triplet
    capacity: tuple[int, ...]
    sizes: tuple[tuple[int, ...], ...]

    @property
    def class_name(self) -> str:
        """The class within the set, as file names say it: `class1` of class1_20_3_0."""
        return self.name.split("_", 1)[0]


class Known(msgspec.Struct, frozen=True):
    """What is published about an instance, in bins; `optimum` is None where nobody proved one."""

    lower_bound: int
    optimum: int | None
    best_known: int


class _Lines:
    """The lines of a file as integers; every complaint names file and line."""

    def __init__(self, path: str, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()
        while self._lines and not self._lines[-1].strip():
            self._lines.pop()
        self._at = 0

    def refuse(self, why: str, hint: str = "") -> BadInput:
        return BadInput([Problem(self._path, max(self._at, 1), why, hint)])

    def integers(self, count: int, what: str) -> tuple[int, ...]:
        """The next line, which holds exactly `count` integers."""
        self._at += 1
        if self._at > len(self._lines):
            raise self.refuse(f"the file ends where {what} should follow", "is it cut short?")
        fields = self._lines[self._at - 1].split()
        try:
            numbers = tuple(int(field) for field in fields)
        except ValueError:
            raise self.refuse(f"not a row of integers: {self._lines[self._at - 1].strip()!r}") from None
        if len(numbers) != count:
            raise self.refuse(f"{what}: {len(numbers)} numbers instead of {count}")
        return numbers

    def end(self) -> None:
        """Nothing may follow."""
        if self._at < len(self._lines):
            self._at += 1
            raise self.refuse("more item lines than announced", "line 3 of the file says how many there are")


def parse(path: str, text: str, name: str, family: str) -> Published:
    """One `.vbp` file; raises BadInput with the line that is wrong."""
    lines = _Lines(path, text)
    (dimensions,) = lines.integers(1, "the number of dimensions")
    if dimensions < 1:
        raise lines.refuse(f"{dimensions} dimensions", "at least one is needed")
    capacity = lines.integers(dimensions, "capacities")
    if min(capacity) < 0:
        raise lines.refuse("a capacity is negative")
    (count,) = lines.integers(1, "the number of items")
    if not 0 < count <= MOST_ITEMS:
        raise lines.refuse(f"{count} items", f"1 to {MOST_ITEMS} are accepted")
    sizes: list[tuple[int, ...]] = []
    for _ in range(count):
        *size, demand = lines.integers(dimensions + 1, "sizes and demand of an item")
        if demand < 1 or len(sizes) + demand > MOST_ITEMS:
            raise lines.refuse(f"a demand of {demand}", "the last number of an item line counts equal items")
        if any(part > room for part, room in zip(size, capacity, strict=True)):
            raise lines.refuse("the item is larger than an empty bin")
        sizes += [tuple(size)] * demand
    lines.end()
    return Published(name, family, capacity, tuple(sizes))


def read_archive(path: Path) -> list[Published]:
    """Every `.vbp` file of a tar archive, in the order of the archive."""
    try:
        with tarfile.open(path) as archive:
            found = [
                parse(f"{path}:{member.name}", text, inside.stem, inside.parts[0].split("_", 1)[0])
                for member, text in _texts(archive)
                for inside in [PurePosixPath(member.name.removeprefix("./"))]
            ]
    except (OSError, EOFError, tarfile.TarError) as error:
        raise BadInput([Problem(str(path), 1, f"not readable as a tar archive: {error}")]) from None
    if not found:
        raise BadInput([Problem(str(path), 1, "holds no .vbp file")])
    return found


def _texts(archive: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str]]:
    for member in archive:
        content = archive.extractfile(member) if member.isfile() and member.name.endswith(".vbp") else None
        if content is not None:
            yield member, content.read().decode("utf-8", errors="replace")


def read_known(paths: Sequence[Path]) -> dict[str, Known]:
    """The tables of published results, by instance."""
    known: dict[str, Known] = {}
    for path in paths:
        try:
            rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput([Problem(str(path), 1, f"not readable: {error}")]) from None
        if not rows or rows[0] != HEADER:
            raise BadInput([Problem(str(path), 1, f"the header is not {','.join(HEADER)}")])
        for line, row in enumerate(rows[1:], start=2):
            known[row[0] if row else ""] = _known(str(path), line, row)
    return known


def _known(path: str, line: int, row: list[str]) -> Known:
    try:
        _, lower, optimum, best = row
        return Known(int(lower), int(optimum) if int(optimum) > 0 else None, int(best))
    except ValueError:
        raise BadInput(
            [Problem(path, line, f"not an instance and three integers: {','.join(row)}")]
        ) from None


def require_known(instances: Sequence[Published], known: Mapping[str, Known], path: Path) -> None:
    """Refuse instances that nothing is known of: their gap could not be told."""
    missing = [instance.name for instance in instances if instance.name not in known]
    if missing:
        why = f"no published result for {missing[0]}" + (
            f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        )
        raise BadInput([Problem(str(path), 1, why, "give the table that holds them with --known")])
