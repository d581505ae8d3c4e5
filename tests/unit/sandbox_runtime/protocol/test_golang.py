"""The agent's side of the wire is the one that is written from the description."""

from __future__ import annotations

import subprocess

import pytest

from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.guest import agent_binary
from sandbox_runtime.protocol import golang


def test_the_agents_types_are_up_to_date() -> None:
    written = (agent_binary.SOURCE / "wire_gen.go").read_text()
    assert written == golang.source(), (
        "run: python -m sandbox_runtime.protocol.golang > sandbox_runtime/guest/agent/wire_gen.go"
    )


def test_the_agents_source_is_formatted() -> None:
    try:
        go = agent_binary.go_command()
    except HostUnfit as unfit:
        pytest.skip(str(unfit))
    gofmt = go.removesuffix("go") + "gofmt"
    run = subprocess.run([gofmt, "-l", str(agent_binary.SOURCE)], capture_output=True, text=True, check=True)
    assert run.stdout == ""
