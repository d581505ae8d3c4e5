"""The installed virtiofsd: held in the shared directory, as nobody on the host, gone with its peer or its parent."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox_runtime.errors import HostUnfit
from sandbox_runtime.volumes import virtiofs
from sandbox_runtime.volumes.plan import Share, ShareOwner

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(os.getuid() != 0, reason="needs root, as the runtime's node agent has"),
]
UID = 1_900_000_123
GET_FEATURES = struct.pack("<III", 1, 1, 0)  # vhost-user: request, version, size


@pytest.fixture
def program() -> virtiofs.Program:
    try:
        return virtiofs.find()
    except HostUnfit as error:
        pytest.skip(str(error))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for parent in tmp_path.parents:  # pytest's own are for root alone
        if parent.stat().st_uid == 0 and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    shared = tmp_path / "shared"
    shared.mkdir()
    tmp_path.chmod(0o755)
    shared.chmod(0o777)
    (shared / "f").write_text("x")
    return shared


def listen(tmp_path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s"))
    server.listen(1)
    return server


def answered(tmp_path: Path) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(30)
    peer.connect(str(tmp_path / "s"))
    peer.send(GET_FEATURES)
    answer = b""
    while len(answer) < 20:  # header and value come in two writes
        answer += peer.recv(20) or b"the connection was closed"
    return peer


def family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def ended(pid: int) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("owner", ShareOwner)
@pytest.mark.parametrize("read_only", [True, False])
def test_it_serves_one_directory_and_nothing_else(
    program: virtiofs.Program, directory: Path, tmp_path: Path, owner: ShareOwner, read_only: bool
) -> None:
    with listen(tmp_path) as server:
        argv = virtiofs.argv(program, Share("t", directory, read_only, owner), server.fileno(), UID)
        process = subprocess.Popen(argv, pass_fds=[server.fileno()], stderr=subprocess.DEVNULL)
        with process, answered(tmp_path):
            members = family(process.pid)
            serving = Path(f"/proc/{members[-1]}")
            assert [path.name for path in (serving / "root").iterdir()] == ["f"]
            uids = (serving / "status").read_text().split("Uid:")[1].split()[:4]
            assert set(uids) == {str(UID if owner is ShareOwner.SANDBOX else 0)}
            if read_only:
                with pytest.raises(OSError, match="Read-only"):
                    (serving / "root/new").touch()
            else:
                (serving / "root/new").touch()
            assert (serving / "net/dev").read_text().count(":") == 1  # loopback alone
        assert all(ended(pid) for pid in members)


def test_it_does_not_outlive_its_parent(program: virtiofs.Program, directory: Path, tmp_path: Path) -> None:
    with listen(tmp_path) as server:
        argv = virtiofs.argv(program, Share("t", directory, False), server.fileno(), UID)
        code = (
            "import subprocess, sys; p = subprocess.Popen(sys.argv[2:], pass_fds=[int(sys.argv[1])]);"
            "print(p.pid, flush=True); p.wait()"
        )
        parent = subprocess.Popen(
            [sys.executable, "-c", code, str(server.fileno()), *argv],
            pass_fds=[server.fileno()], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        with parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            with answered(tmp_path):
                members = family(pid)
                parent.send_signal(signal.SIGKILL)
                parent.wait()
                assert all(ended(pid) for pid in members)


def test_a_path_that_is_no_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "missing"):
        with pytest.raises(HostUnfit):
            virtiofs.check(Share("t", tmp_path / name, False))
