"""Compiles the load generator: Go, standard library only, static, so that it runs in a guest, a container and here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.guest.agent_binary import go_command

SOURCE = Path(__file__).parent / "load"


def compile_load(folder: Path, cache: Path) -> Path:
    """The program, in `folder`; `cache` is the compiler's. HostUnfit without a compiler."""
    target = folder / "load"
    environment = os.environ | {
        "CGO_ENABLED": "0", "GOCACHE": str(cache), "GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": "-mod=mod",
    }  # fmt: skip
    words = [go_command(), "build", "-buildvcs=false", "-ldflags=-s -w", "-o", str(target), "."]
    done = subprocess.run(words, cwd=SOURCE, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostUnfit("load generator", done.stderr[-500:], "go >= 1.19 compiles it")
    return target
