"""Marks the functions that numba compiles; they stay ordinary typed Python for readers, mypy and coverage.

The placement kernel evaluates about a hundred (node class, shape) pairs per decision; docs/decisions/0001 measures
what the compiler buys. `NUMBA_DISABLE_JIT=1` runs the same functions interpreted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def cache_directory() -> Path:
    """Where machine code is kept, named by the content of every source that has compiled functions or constants.

    numba looks at the time stamp of the file of a function but not of those it inlines from other files; a
    directory per content makes a stale mix impossible.
    """
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        content = source.read_bytes()
        if b"@compiled" in content or source.name == "model.py":
            digest.update(content)
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "bulkhead" / f"kernel-{digest.hexdigest()[:16]}"


numba.config.CACHE_DIR = str(cache_directory())  # type: ignore[attr-defined]  # numba ships no types


OPTIONS = {"cache": True, "error_model": "numpy"}


def compiled(function: Function) -> Function:
    """Compile on first call and keep the machine code in the user's cache.

    Such functions never allocate: every array is the caller's. So numba's reference counting can be left out
    (`_nrt`), which otherwise costs 140 of the 145 ns that judging a node class takes.
    """
    return cast(Function, numba.njit(**OPTIONS, _nrt=False)(function))  # type: ignore[call-overload]  # not in its stubs


def compiled_allocating(function: Function) -> Function:
    """The same for functions that make arrays of their own, and pay for it."""
    return cast(Function, numba.njit(**OPTIONS)(function))  # type: ignore[call-overload]  # not in its stubs
