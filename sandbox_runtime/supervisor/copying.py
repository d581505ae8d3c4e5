"""Copied volumes (ConfigMap, Secret): put into the guest at the start, and again whenever their directory changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from sandbox_runtime.channel import Channel
from sandbox_runtime.errors import SandboxError
from sandbox_runtime.supervisor import guest
from sandbox_runtime.supervisor.loop import Loop
from sandbox_runtime.volumes.plan import VolumePlan
from sandbox_runtime.volumes.watch import Watch


class Copying:
    """The copied volumes of one sandbox; `blame` is told what went wrong later."""

    def __init__(self, loop: Loop, blame: Callable[[str], None]) -> None:
        self._loop, self._blame = loop, blame
        self._watches: list[Watch] = []

    def begin(self, channel: Channel, volumes: Sequence[VolumePlan]) -> None:
        """Put all of them, wait for it, and watch from now on."""
        for plan in volumes:
            if plan.copy is None:
                continue
            watch, target = Watch(plan.copy.directory), plan.copy.target
            self._watches.append(watch)
            snapshot = watch.news()
            if snapshot is not None:
                guest.put_and_wait(channel, target, snapshot)
            self._loop.watch(watch, partial(self._again, channel, watch, target))

    def end(self) -> None:
        """Watch no more."""
        while self._watches:
            watch = self._watches.pop()
            self._loop.forget(watch)
            watch.close()

    def _again(self, channel: Channel, watch: Watch, target: str) -> None:
        """A volume that cannot be read now keeps what it had; the next change is another chance."""
        try:
            snapshot = watch.news()
        except SandboxError as error:
            self._blame(str(error))
            return
        if snapshot is not None:
            guest.put(channel, target, snapshot, lambda answer: None)
