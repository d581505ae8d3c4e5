"""Compiles the agent: Go, standard library only, static, the same bytes wherever it is built with the same compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from sandbox_runtime.errors import HostUnfit

SOURCE = Path(__file__).parent / "agent"
_KNOWN_PLACES = ("/usr/local/go/bin/go", "/usr/lib/go/bin/go")
_LAST_WORDS = 2000


def go_command() -> str:
    """The Go compiler: of PATH, else where its own installer puts it. Raises HostUnfit."""
    for candidate in ("go", *_KNOWN_PLACES):
        if found := shutil.which(candidate):
            return found
    raise HostUnfit(
        "go", "the guest's agent is compiled once, on this host", "apt-get install golang-go (>= 1.19)"
    )


def go_version() -> str:
    """What names the compiler in the digest of the inputs."""
    run = subprocess.run(
        [go_command(), "version"], env=_environment(None), capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


def sources() -> list[Path]:
    """Every file that goes into the agent, tests left out."""
    return sorted(
        path for path in SOURCE.glob("*") if path.suffix in (".go", ".mod") and "_test" not in path.stem
    )


def compile_agent(target: Path, cache: Path) -> None:
    """Build the agent into `target`; `cache` is the compiler's own. Raises HostUnfit with what the compiler said."""
    command = [
        go_command(),
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags=-s -w -buildid=",
        "-o",
        str(target),
        ".",
    ]
    run = subprocess.run(
        command, cwd=SOURCE, env=_environment(cache), capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise HostUnfit("guest agent", run.stderr[-_LAST_WORDS:], "go >= 1.19 compiles it")


def _environment(cache: Path | None) -> dict[str, str]:
    # GOTOOLCHAIN=local, GOPROXY=off: never fetch another compiler or a module; there is nothing to fetch
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/nonexistent")}
    environment |= {"CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": "amd64", "GOAMD64": "v1"}
    environment |= {"GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": "-mod=mod", "GOENV": "off"}
    return environment | ({"GOCACHE": str(cache)} if cache else {})
