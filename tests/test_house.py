"""The house rules that no linter knows: small rooms, telling names, no build machine in the tree."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("scheduler", "tenants", "sandbox_runtime", "benchmarks")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
GRAB_BAGS = {"utils", "util", "common", "manager", "helpers", "misc"}
FOREIGN = re.compile(r"(?<![\w.-])/(?:wor[k]|hom[e])/|index-ur[l]|pythonhoste[d]")


def module_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES + TESTS, ids=module_id)
def test_a_module_is_short_enough_to_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), "module docstring missing"


@pytest.mark.parametrize("path", MODULES + TESTS, ids=module_id)
def test_a_module_is_named_by_its_subject(path: Path) -> None:
    assert not GRAB_BAGS & set(path.relative_to(ROOT).with_suffix("").parts)


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: the tree cannot be listed")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_the_tree_names_no_build_machine_and_no_package_index() -> None:
    this = Path(__file__)
    offenders = [
        module_id(path)
        for path in tracked_files()
        if path != this and path.is_file() and FOREIGN.search(path.read_text(errors="replace"))
    ]
    assert offenders == []
