"""Compiles small static Go programs that run inside guests."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import tempfile
from pathlib import Path

from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.guest.agent_binary import go_command


@functools.cache
def program(source: Path, replaced: tuple[tuple[Path, Path], ...] = ()) -> Path | None:
    """The program in the directory `source`, with some of its files replaced by others; None without a compiler."""
    try:
        go = go_command()
    except HostUnfit:
        return None
    cache = os.environ.get("BULKHEAD_TEST_CACHE") or tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix="bulkhead-go-"))
    overlay = folder / "overlay.json"
    overlay.write_text(json.dumps({"Replace": {str(old): str(new) for old, new in replaced}}))
    environment = os.environ | {
        "CGO_ENABLED": "0", "GOCACHE": f"{cache}/go-cache", "GOTOOLCHAIN": "local", "GOPROXY": "off",
        "GOFLAGS": "-mod=mod",
    }  # fmt: skip
    target = folder / source.name
    words = [
        go,
        "build",
        "-overlay",
        str(overlay),
        "-buildvcs=false",
        "-ldflags=-s -w",
        "-o",
        str(target),
        ".",
    ]
    done = subprocess.run(words, cwd=source, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target
