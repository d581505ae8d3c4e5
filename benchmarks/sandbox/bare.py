"""The same machine by QEMU alone: same arguments, files by their paths, no user, jail, seccomp or bookkeeping."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sandbox_runtime.channel import Channel
from sandbox_runtime.vmm import machine
from sandbox_runtime.vmm.launch import Launcher, Request
from sandbox_runtime.vmm.machine import Fd

AGENT_SECONDS = 120.0
RETRY_SECONDS = 0.0005


def restore(launcher: Launcher, request: Request, folder: Path) -> float:
    """Seconds from spawning QEMU on a template that is there until the agent has said hello."""
    template = launcher.paths.templates / launcher.key(request)
    files = {Fd.MEMORY: template / "memory", Fd.IMAGE: request.guest.image}
    argv = machine.restored_over_file(request.shape(launcher.host))
    with (template / "state").open("rb") as state:
        begin = time.monotonic()
        with _running([str(launcher.host.qemu), *_by_path(argv, files, folder)], state.fileno()):
            with _connected(folder / "qmp") as monitor:
                monitor.sendall(_load(state.fileno()))
                _hello(folder / "agent")
            return time.monotonic() - begin


def boot(launcher: Launcher, request: Request, folder: Path) -> float:
    """Seconds from spawning QEMU until the agent of a booted guest has said hello."""
    guest = request.guest
    files = {Fd.KERNEL: guest.kernel, Fd.INITRD: guest.initrd, Fd.IMAGE: guest.image}
    argv = machine.booted(request.shape(launcher.host))
    begin = time.monotonic()
    with _running([str(launcher.host.qemu), *_by_path(argv, files, folder)]):
        _hello(folder / "agent")
        return time.monotonic() - begin


def _by_path(argv: list[str], files: Mapping[Fd, Path | None], folder: Path) -> list[str]:
    """Our arguments with paths for descriptors, and without the seccomp filter."""
    filters = argv.index("-sandbox")
    words = argv[:filters] + argv[filters + 2 :]
    for name in ("qmp", "agent"):
        (folder / name).unlink(missing_ok=True)
    swaps = {number.path: str(path) for number, path in files.items() if path is not None}
    swaps |= {f"fd={int(Fd.QMP)},": f"path={folder}/qmp,", f"fd={int(Fd.AGENT)},": f"path={folder}/agent,"}
    for old, new in swaps.items():
        words = [word.replace(old, new) for word in words]
    return words


def _load(state: int) -> bytes:
    capability = {"capability": "x-ignore-shared", "state": True}
    commands: list[dict[str, object]] = [
        {"execute": "qmp_capabilities"},
        {"execute": "migrate-set-capabilities", "arguments": {"capabilities": [capability]}},
        {"execute": "migrate-incoming", "arguments": {"uri": f"fd:{state}"}},
    ]
    return b"".join(json.dumps(command).encode() for command in commands)


def _hello(path: Path) -> None:
    with _connected(path) as port:
        Channel(port).greet(AGENT_SECONDS)


@contextmanager
def _running(argv: list[str], *passed: int) -> Iterator[None]:
    with subprocess.Popen(argv, pass_fds=passed) as process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    deadline = time.monotonic() + AGENT_SECONDS
    connection = socket.socket(socket.AF_UNIX)
    while connection.connect_ex(str(path)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"QEMU alone does not open {path}")
        connection.close()
        time.sleep(RETRY_SECONDS)
        connection = socket.socket(socket.AF_UNIX)
    with connection:
        yield connection


Measured = Callable[[Launcher, Request, Path], float]
