"""The agent's own tests, and the promises of its build: old compilers, one static file, small."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sandbox_runtime.guest import agent_binary
from tests.support.agent_process import cache

pytestmark = pytest.mark.real
MIB = 1 << 20


def go(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
        "GOCACHE": str(cache() / "go-cache"),
    }
    command = [agent_binary.go_command(), *arguments]
    return subprocess.run(
        command, cwd=agent_binary.SOURCE, env=environment, capture_output=True, text=True, check=False
    )


def test_the_agents_own_tests_pass(agent: Path) -> None:
    """Unit tests, and the seeds of its fuzz targets; BULKHEAD_TEST_FUZZ_SECONDS searches on from them."""
    run = go("test", "-count=1", ".")
    assert run.returncode == 0, run.stdout[-4000:]
    seconds = os.environ.get("BULKHEAD_TEST_FUZZ_SECONDS")
    for target in ("FuzzSession", "FuzzFrames", "FuzzRequest", "FuzzUnpack") if seconds else ():
        run = go("test", "-run=^$", f"-fuzz=^{target}$", f"-fuzztime={seconds}s", ".")
        assert run.returncode == 0, run.stdout[-4000:]


def test_vet_is_content_and_the_language_is_that_of_1_19(agent: Path) -> None:
    assert "go 1.19" in (agent_binary.SOURCE / "go.mod").read_text()
    assert "require" not in (agent_binary.SOURCE / "go.mod").read_text()
    run = go("vet", ".")
    assert run.returncode == 0, run.stderr


def test_the_agent_is_one_small_static_file(agent: Path) -> None:
    data = agent.read_bytes()
    assert len(data) < 4 * MIB
    assert b"/lib64/ld-linux" not in data[:4096]


def test_the_same_source_gives_the_same_bytes_anywhere(agent: Path, tmp_path: Path) -> None:
    agent_binary.compile_agent(tmp_path / "again", cache() / "go-cache")
    assert (tmp_path / "again").read_bytes() == agent.read_bytes()
