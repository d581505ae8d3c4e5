"""A virtiofsd for one shared directory: started confined, connected, its socket gone from the file system at once."""

from __future__ import annotations

import os
import socket

from sandbox_runtime.errors import VmmFailed
from sandbox_runtime.lifecycle.journal import Journal
from sandbox_runtime.paths import Paths
from sandbox_runtime.vmm import users
from sandbox_runtime.vmm.cgroup import Cgroup
from sandbox_runtime.vmm.confine import Confinement
from sandbox_runtime.vmm.launch import listen
from sandbox_runtime.vmm.spawn import Child, spawn
from sandbox_runtime.volumes import virtiofs
from sandbox_runtime.volumes.plan import Share

SOCKET = 3  # its number in virtiofsd
OPEN_FILES = 1 << 16  # it holds one for every file that the guest knows of


def serve(paths: Paths, sandbox_id: str, share: Share, group: Cgroup, journal: Journal) -> tuple[Child, int]:
    """The running virtiofsd, and our end of its one connection, for QEMU. HostUnfit, VmmFailed."""
    share = share._replace(directory=virtiofs.check(share))
    uid = users.claim(paths, sandbox_id) if os.geteuid() == 0 else 0
    argv = virtiofs.argv(virtiofs.find(), share, SOCKET, uid)
    place = paths.sandbox(sandbox_id) / f"{share.tag}.sock"
    journal.note("socket", str(place))
    listening = listen(place)
    try:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(place))
        child = spawn(
            argv,
            [(listening, SOCKET)],
            Confinement(cgroup=tuple(group.join_files()), open_files=OPEN_FILES),
            lambda process: journal.note("process", str(process)),
        )
    except OSError as error:
        raise VmmFailed("virtiofsd", str(error)) from error
    finally:
        os.close(listening)
        place.unlink(missing_ok=True)
    return child, client.detach()
