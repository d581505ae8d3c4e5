"""How processes of ours are started: the same interpreter and the same sources, without what `site` adds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def argv(entry: str, words: Sequence[str]) -> list[str]:
    """The command line that runs the statement `entry`, with `words` in sys.argv.

    Without `site`: 10 ms and 3 MiB less.
    """
    program = f"import sys; sys.path[:0] = [{str(ROOT)!r}]; {entry}"
    return [sys.executable, "-I", "-S", "-c", program, *words]
