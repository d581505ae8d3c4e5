"""The agent as a process of this machine, on a socket pair: the wire without a guest, in milliseconds."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.guest import agent_binary


def cache() -> Path:
    """What tests build once and keep: the compiled agent, guest images."""
    folder = Path(os.environ.get("BULKHEAD_TEST_CACHE") or Path.home() / ".cache" / "bulkhead-tests")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def agent_binary_path() -> Path | None:
    """The agent, compiled from the sources as they are; None where there is no Go."""
    try:
        agent_binary.go_command()
    except HostUnfit:
        return None
    target = cache() / "agent"
    with (cache() / "agent.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        newest = max(path.stat().st_mtime_ns for path in agent_binary.sources())
        if not target.exists() or target.stat().st_mtime_ns < newest:
            agent_binary.compile_agent(target, cache() / "go-cache")
    return target


@contextlib.contextmanager
def running_agent(binary: Path, folder: Path) -> Iterator[tuple[socket.socket, subprocess.Popen[bytes]]]:
    """The host's end of the pair, and the agent; it ends with its socket."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [str(binary), "-fd", str(theirs.fileno())],
        pass_fds=(theirs.fileno(),),
        env={"BULKHEAD_AGENT_STATE": str(folder), "GOTRACEBACK": "all"},
        stderr=subprocess.PIPE,
    )
    theirs.close()
    try:
        yield ours, process
    finally:
        ours.close()
        try:
            process.wait(10)
        finally:
            process.kill()
            assert process.stderr is not None
            process.stderr.close()
