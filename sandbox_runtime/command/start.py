"""Brings a sandbox up to the point where its container may be started; on any failure nothing is left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from sandbox_runtime.command.progress import Progress
from sandbox_runtime.errors import SandboxError
from sandbox_runtime.guest.build import build
from sandbox_runtime.lifecycle import journal, recover
from sandbox_runtime.model import ContainerSpec
from sandbox_runtime.paths import Paths
from sandbox_runtime.rootfs.cache import LayerCache
from sandbox_runtime.rootfs.image.source import open_image
from sandbox_runtime.rootfs.lower import of_image
from sandbox_runtime.supervisor import order as orders
from sandbox_runtime.supervisor import spawn
from sandbox_runtime.supervisor.order import Order
from sandbox_runtime.vmm import accel


class Running(NamedTuple):
    """A sandbox that is ready."""

    id: str
    pid: int


class NotStarted(SandboxError):
    """It did not come up; `code` is what the command exits with."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.code = code


def start(paths: Paths, order: Order, progress: Progress) -> Running:
    """Start the supervisor of `order` and wait until it is ready. HostUnfit, BadInput, StorageFailed, NotStarted.

    The guest image and the layers are made here: they are nobody's in particular, can be large, and must not be
    charged to the sandbox's control group.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    recover.recover(paths)
    accel.require(accel.probe_accel(paths), order.spec.allow_emulation)
    lock = journal.claim(paths, order.spec.id)
    try:
        with _cleaned_on_failure(paths, order.spec.id):
            progress.step("guest")
            order = order._replace(guest=build(paths))
            for container in order.spec.containers:
                _layers(paths, order.spec.id, container, progress)
            orders.write(paths.sandbox(order.spec.id), order)
            born = spawn.start(paths, order.spec.id, lock)
    finally:
        os.close(lock)
    return _await(paths, order, born, progress)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM while a sandbox comes up is as Ctrl-C: it must not come up for nobody."""
    raise KeyboardInterrupt


def _layers(paths: Paths, holder: str, container: ContainerSpec, progress: Progress) -> None:
    image = open_image(Path(container.image))

    def told(what: str, number: int, of: int) -> None:
        progress.step("layers", f"{number} of {of}")

    of_image(LayerCache(paths.layers), holder, image, told=told)


def _await(paths: Paths, order: Order, born: spawn.Born, progress: Progress) -> Running:
    try:
        for news in born.news():
            if "phase" in news:
                progress.step(str(news["phase"]))
            elif "ready" in news:
                return Running(order.spec.id, born.pid)
            else:
                born.reap()
                recover.forget(paths, order.spec.id)
                raise NotStarted(str(news["failed"]), int(news["code"]))
    except KeyboardInterrupt:
        os.kill(born.pid, signal.SIGTERM)
        born.reap()
        recover.forget(paths, order.spec.id)
        raise
    born.reap()
    said = _last_words(paths, order.spec.id)
    recover.forget(paths, order.spec.id)
    raise NotStarted(f"the supervisor died{said}", 125)


def _last_words(paths: Paths, sandbox_id: str) -> str:
    try:
        text = (paths.sandbox(sandbox_id) / spawn.LOG).read_text(errors="replace").strip()
    except OSError:
        return ""
    return f": {text[-2000:]}" if text else ""


@contextmanager
def _cleaned_on_failure(paths: Paths, sandbox_id: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        recover.clean(paths, sandbox_id)
        recover.remove(paths, sandbox_id)
        raise
