"""The `bulkhead tenants` command as a user runs it: a process of its own, its output and its exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec

from tenants.adopt import documents
from tenants.model import TenantSet


class Ran(NamedTuple):
    status: int
    out: str
    err: str


def argv(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "bulkhead", "tenants", *map(str, words)]


def tenants(*words: str | Path, stdin: str = "") -> Ran:
    """Run one command to its end."""
    done = subprocess.run(argv(*words), input=stdin, capture_output=True, text=True, timeout=120, check=False)
    return Ran(done.returncode, done.stdout, done.stderr)


def write_files(directory: Path, model: TenantSet) -> Path:
    """The model as tenant files, instead of whatever was there."""
    directory.mkdir(exist_ok=True)
    for old in directory.glob("*.yaml"):
        old.unlink()
    for name, text in documents.by_file(model).items():
        (directory / name).write_text(text)
    return directory


def steps(ran: Ran) -> list[dict[str, object]]:
    """The steps of `apply --format json`, without the last line, which is the sum."""
    return [msgspec.json.decode(line) for line in ran.out.splitlines()][:-1]
