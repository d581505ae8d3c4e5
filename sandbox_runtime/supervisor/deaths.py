"""Watches the processes of a sandbox, and finds out why one has died."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial

from sandbox_runtime.errors import VmmFailed
from sandbox_runtime.supervisor import group
from sandbox_runtime.supervisor.guest_end import guest_ended
from sandbox_runtime.supervisor.host import Host
from sandbox_runtime.supervisor.loop import Loop
from sandbox_runtime.vmm.processes import ended
from sandbox_runtime.vmm.spawn import Child
from sandbox_runtime.vmm.vm import last_words

DYING_SECONDS = 0.5  # between the end of QEMU and the end of what served it, or the other way round

Died = Callable[[str, str], None]  # a code for the reason, and words


class Deaths:
    """Tells `died` of QEMU and of the virtiofsds of one sandbox."""

    def __init__(self, host: Host, loop: Loop, died: Died) -> None:
        self._host, self._loop, self._died = host, loop, died

    def watch(self) -> None:
        """From now on; QEMU runs, and its agent was heard."""
        assert self._host.vm is not None  # noqa: S101 - just acquired
        self._loop.watch(self._host.vm.child.pidfd, self.machine_died)
        self._loop.watch(self._host.vm.qmp, self.monitor_spoke)
        for child in self._host.helpers:
            self._loop.watch(child.pidfd, partial(self._helper_died, child))

    def forget_machine(self) -> None:
        """Its end is no news any more."""
        if self._host.vm is not None:
            self._loop.forget(self._host.vm.child.pidfd)
            if self._host.vm.qmp.fileno() >= 0:
                self._loop.forget(self._host.vm.qmp)

    def forget_helpers(self) -> None:
        """Theirs is no news any more."""
        for child in self._host.helpers:
            self._loop.forget(child.pidfd)

    def machine_died(self) -> None:
        """QEMU that ends by itself ends with its guest (`-no-reboot`); QEMU that is killed was killed by the host."""
        vm = self._host.vm
        assert vm is not None  # noqa: S101 - watched
        self.forget_machine()
        status = os.waitid(os.P_PIDFD, vm.child.pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        killed = status is not None and status.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
        reason = "guest-died"
        if killed and status is not None:
            oom = status.si_status == signal.SIGKILL and group.out_of_memory(self._host.cgroup)
            reason = "vmm-out-of-memory" if oom else "vmm-died"
        self._died(reason, vm.said().strip()[-500:])

    def monitor_spoke(self) -> None:
        """A guest that panicked or turned itself off leaves QEMU paused (`-action shutdown=pause`)."""
        vm = self._host.vm
        if vm is None:
            return
        if said := guest_ended(vm):
            self.forget_machine()
            self._died("guest-died", said)
        elif vm.qmp.closed:
            self._loop.forget(vm.qmp)

    def _helper_died(self, child: Child) -> None:
        """Whoever uses the shared directory would wait for ever. A virtiofsd also ends when its QEMU does."""
        self._loop.forget(child.pidfd)
        if self._host.vm is not None and self._host.vm.wait(DYING_SECONDS):
            self.machine_died()
        else:
            self._died("virtiofsd-died", f"virtiofsd died: {last_words(child)[-500:]}")

    def interrupt(self) -> None:
        """A child has ended while something slow is under way: a guest without its shared directories never answers."""
        if any(ended(child.pidfd, 0) for child in self._host.helpers):
            raise VmmFailed("virtiofsd", "it died while the sandbox was being started")
