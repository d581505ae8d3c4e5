"""An NFS server in user space, for guests on a tap of the network namespace that we are in."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox_runtime.errors import HostUnfit

PORT = 2049
READY_SECONDS = 60.0
CONFIGURATION = """
NFS_CORE_PARAM {{ Protocols = 4; NFS_Port = {port}; Enable_NLM = false; Enable_RQUOTA = false; }}
NFSv4 {{ Grace_Period = 1; Lease_Lifetime = 10; Graceless = true; RecoveryRoot = "{state}"; }}
EXPORT_DEFAULTS {{ Access_Type = RW; Squash = None; SecType = sys; Transports = TCP; Protocols = 4; }}
EXPORT {{ Export_Id = 1; Path = "{directory}"; Pseudo = "/data"; FSAL {{ Name = VFS; }} }}
LOG {{ Default_Log_Level = EVENT; }}
"""


@contextmanager
def serving(directory: Path, folder: Path) -> Iterator[None]:
    """Export `directory` as `/data`; `folder` is for the server's own files. HostUnfit where it does not come up."""
    program = shutil.which("ganesha.nfsd")
    if program is None:
        raise HostUnfit("ganesha.nfsd", "the NFS rows need a server", "apt-get install nfs-ganesha-vfs")
    state = folder / "nfs"
    state.mkdir()
    (state / "conf").write_text(CONFIGURATION.format(port=PORT, state=state, directory=directory))
    words = [program, "-F", "-f", str(state / "conf"), "-L", str(state / "log"), "-p", str(state / "pid")]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _await(server, state / "log")
            yield
        finally:
            server.kill()


def _await(server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            if not probe.connect_ex(("127.0.0.1", PORT)):
                return
        time.sleep(0.1)
    said = log.read_text(errors="replace")[-500:] if log.exists() else ""
    raise HostUnfit("ganesha.nfsd", f"it does not listen: {said}", "see its log")
