"""Starts a confined program: fork, give up, exec; the parent learns of every failure before exec, with its cause."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sandbox_runtime.errors import VmmFailed
from sandbox_runtime.vmm import confine
from sandbox_runtime.vmm.confine import Confinement
from sandbox_runtime.vmm.processes import Process

ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    # mallopt(3): one heap for all threads, and what is freed goes back; both are memory of every sandbox
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    # GLib before 2.76 keeps what was freed of small objects in caches of its own: 1 MiB
    "G_SLICE": "always-malloc",
}


class Child(NamedTuple):
    """A running child of ours.

    Attributes:
        process: which one it is, for ever.
        pidfd: readable when it has ended.
        output: the read end of what it says on stdout and stderr, not blocking.
    """

    process: Process
    pidfd: int
    output: int


def spawn(
    argv: Sequence[str],
    fds: Sequence[tuple[int, int]],
    confinement: Confinement,
    record: Callable[[Process], None] = lambda process: None,
) -> Child:
    """Run `argv` with the descriptors `fds`, (ours, theirs), and nothing else of ours.

    `record` is called with the child's identity before it runs anything, so that none is ever started that is not
    written down. VmmFailed where the child cannot give up what it must, or `argv` cannot be executed.
    """
    trouble, says = os.pipe()
    ready, go = os.pipe()
    output, speech = os.pipe()
    os.set_blocking(output, False)
    os.set_blocking(
        speech, False
    )  # what does not fit is lost: a program that talks must not stand still for it
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        for fd in (trouble, go, output):
            os.close(fd)
        _become(argv, fds, confinement, parent, ready, says, speech)
    for fd in (says, ready, speech):
        os.close(fd)
    pidfd = os.pidfd_open(pid)
    try:
        record(Process.of(pid))
        os.write(go, b"g")
        _hear(trouble)
        return Child(Process.of(pid), pidfd, output)
    except BaseException:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(pidfd)
        os.close(output)
        raise
    finally:
        os.close(trouble)
        os.close(go)


def _become(
    argv: Sequence[str],
    fds: Sequence[tuple[int, int]],
    confinement: Confinement,
    parent: int,
    ready: int,
    says: int,
    speech: int,
) -> None:
    """The child; never returns. `says` closes by itself when exec succeeds."""
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        if os.read(ready, 1) != b"g":
            os._exit(1)  # the parent died before it had written us down
        nothing = os.open("/dev/null", os.O_RDWR)
        for ours, theirs in ((nothing, 0), (speech, 1), (speech, 2)):
            os.dup2(ours, theirs)
        above_all = 1 + max([theirs for _, theirs in fds], default=2)
        says = fcntl.fcntl(says, fcntl.F_DUPFD_CLOEXEC, above_all)
        confine.apply(confinement, parent)
        confine.take_fds(fds, keep=says)
        os.execve(argv[0], list(argv), ENVIRONMENT)  # noqa: S606 - no shell, fixed program
    except BaseException as error:
        os.write(says, f"{argv[0]}: {error}".encode()[:4000])
    finally:
        os._exit(127)


def _hear(trouble: int) -> None:
    said = b""
    while chunk := os.read(trouble, 4096):
        said += chunk
    if said:
        raise VmmFailed("spawn", said.decode(errors="replace"))
