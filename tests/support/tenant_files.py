"""The fixtures of tenant files: which there are, what each broken one must report, and the schema's verdict."""

from __future__ import annotations

from pathlib import Path

from tenants.files import positions
from tenants.files.load import load, read
from tenants.files.problem import Problem

FIXTURES = Path(__file__).parents[1] / "fixtures/tenants"
SAMPLES = Path(__file__).parents[2] / "deploy/tenants"
BROKEN = sorted(path for path in (FIXTURES / "broken").iterdir() if path.suffix in {"", ".yaml"})
GOOD = sorted((FIXTURES / "good").iterdir())
SIDE_CARS = {".want", ".caret"}


def problems_in(path: Path) -> list[Problem]:
    """Every problem that loading reports; none for a clean file."""
    found = load(path)
    return found if isinstance(found, list) else []


def wanted_in(path: Path) -> list[str]:
    """The lines of the side car: `[kind] file:line:col: where: why; suggestion`."""
    return path.with_suffix(".want").read_text().splitlines()


def values_in(path: Path) -> list[object]:
    """The documents of a file or directory as plain values."""
    texts = read([path]).texts
    return [document.value for name, text in texts.items() for document in positions.read(name, text)[0]]


def texts_of_good_files() -> list[str]:
    """Material for mutation."""
    return [text for path in (*GOOD, SAMPLES) for text in read([path]).texts.values()]
