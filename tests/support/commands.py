"""Runs the product's command lines as a user does: a process, its output, its exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 280


def command(*arguments: str | Path) -> list[str]:
    """The argv of a `bulkhead` command."""
    return [sys.executable, "-m", "bulkhead", *map(str, arguments)]


def bulkhead(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `bulkhead` to its end, at the root of the repository."""
    return run(command(*arguments))


def module(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m name` to its end, at the root of the repository."""
    return run([sys.executable, "-m", name, *map(str, arguments)])


def run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Run an argv to its end and keep what it printed."""
    return subprocess.run(
        argv, capture_output=True, text=True, errors="replace", check=False, cwd=ROOT, timeout=TIMEOUT_S
    )
