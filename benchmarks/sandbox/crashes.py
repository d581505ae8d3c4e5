"""A sandbox whose guest kernel panics, is started again, panics: a crash loop without the back-off that kubelet has."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

from benchmarks.sandbox.inside import inside
from sandbox_runtime.errors import VmmFailed
from sandbox_runtime.model import Nic
from sandbox_runtime.vmm.launch import Launcher, Request

PANIC_SECONDS = 60.0
END_SECONDS = 120.0


@contextmanager
def crash_loop(launcher: Launcher, request: Request, program: Path) -> Iterator[None]:
    """Runs beside us, in a process of its own, from the first panic until the end of the block."""
    fork = multiprocessing.get_context("fork")
    began, over = fork.Event(), fork.Event()
    worker = fork.Process(target=_crash, args=(launcher, request, program, began, over))
    worker.start()
    try:
        while not began.wait(1.0):
            if not worker.is_alive():
                raise VmmFailed("panic", "no guest could be made to panic")
        yield
    finally:
        over.set()
        worker.join(END_SECONDS)


def _crash(launcher: Launcher, request: Request, program: Path, began: Event, over: Event) -> None:
    while not over.is_set():
        with inside(launcher, request, program, (), (), Nic()) as found:
            began.set()
            found.crash(["/bin/load", "panic"], PANIC_SECONDS)
