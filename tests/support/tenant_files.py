"""The fixtures of tenant files: which there are, what each broken one must report, and the schema's verdict."""

from __future__ import annotations

import json
from pathlib import Path

from tenants.files import positions, report
from tenants.files.load import Sources, load, parse, read
from tenants.files.problem import Problem
from tenants.model import Runtime, TenantSet, Trust

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


def judge(text: str) -> TenantSet | list[Problem]:
    """Load a text as a tenant file and hold whatever comes back to what always has to be true of it."""
    found = parse({"f.yaml": text})
    if isinstance(found, TenantSet):
        for tenant in found.tenants.values():
            assert tenant.trust is Trust.TRUSTED or tenant.isolation.runtime is not Runtime.RUNC
            assert not tenant.owns("kube-system")
        return found
    assert found, "no tenants and no reason"
    assert found == sorted(set(found)), "problems are sorted and said once"
    lines = positions.lines_of(text)
    for problem in found:
        assert 1 <= problem.line <= len(lines), problem
        assert 1 <= problem.col <= len(lines[problem.line - 1]) + 1, problem
    sources = Sources({"f.yaml": text}, [])
    shown = report.text(found, sources.texts) + report.summary(found, sources)
    assert all(line.isprintable() for line in shown.split("\n")), "a file must not reach the terminal raw"
    assert len(json.loads(report.as_json(found, sources))["problems"]) == len(found)
    assert len(json.loads(report.sarif(found))["runs"][0]["results"]) == len(found)
    return found
