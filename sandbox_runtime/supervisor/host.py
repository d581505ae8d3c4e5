"""The resources of a sandbox on the host: each acquired by one method, and released by another that is safe to repeat.

`lifecycle.step` says which and when. Everything is written into the journal before it is made.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from sandbox_runtime.channel import Channel
from sandbox_runtime.errors import HostUnfit, SandboxError, VmmFailed
from sandbox_runtime.lifecycle.journal import Journal
from sandbox_runtime.lifecycle.recover import drop_storage, empty
from sandbox_runtime.lifecycle.state import Resource
from sandbox_runtime.model import NetKind, VolumeKind
from sandbox_runtime.paths import Paths
from sandbox_runtime.protocol import messages
from sandbox_runtime.protocol.errors import RequestFailed
from sandbox_runtime.supervisor import disks, group, network, plans, shares
from sandbox_runtime.supervisor.greeting import HELLO_SECONDS, Silent, greet
from sandbox_runtime.supervisor.order import Order
from sandbox_runtime.supervisor.plans import Plans
from sandbox_runtime.vmm import recover as machines
from sandbox_runtime.vmm import users
from sandbox_runtime.vmm.accel import probe_accel
from sandbox_runtime.vmm.cgroup import Cgroup
from sandbox_runtime.vmm.host import this_host
from sandbox_runtime.vmm.launch import Launcher, Request
from sandbox_runtime.vmm.sizing import size_of
from sandbox_runtime.vmm.spawn import Child
from sandbox_runtime.vmm.templates import Templates
from sandbox_runtime.vmm.vm import Vm, reap

SHUTDOWN_SECONDS = 15.0
HURRIED_SECONDS = 2.0
ORPHANS_SECONDS = 2.0
PR_SET_CHILD_SUBREAPER = 36
# mm/page_reporting.c: a pass every two seconds. Two are all of a small guest; what a template has not reported each
# sandbox does, and writes to what the kernel knows of each free block: a page of its own for every 4 MiB of memory.
REPORT_SECONDS = 4.0
_KEEPS = (
    VolumeKind.BLOCK,
    VolumeKind.NFS,
    VolumeKind.VIRTIOFS,
)  # outlive the sandbox: written out at its end

Told = Callable[[str], None]


class Host:
    """What one sandbox has on this host.

    Attributes:
        plans: since STORAGE. vm: since MACHINE. channel: since CHANNEL; whoever finds it dead leaves it here.
        helpers: the virtiofsds.
        clean: whether the guest was shut down in order, so that its end is no surprise.
        silent_starts: machines of this sandbox that came up without a word and were given up.
    """

    def __init__(self, paths: Paths, order: Order, journal: Journal, told: Told) -> None:
        self.paths, self.order, self.id = paths, order, order.spec.id
        self.accel = probe_accel(paths)
        self.size = size_of(order.spec.limits)
        self.cgroup = Cgroup(order.spec.cgroup)
        self.plans = Plans((), ())
        self.helpers: list[Child] = []
        self.vm: Vm | None = None
        self.channel: Channel | None = None
        self.clean = False
        self.silent_starts = 0
        self._journal, self._told = journal, told
        self._homes: list[str] = []
        self._sockets: list[tuple[str, int]] = []
        self._tap = -1
        self._ways: dict[Resource, tuple[Callable[[], None], Callable[[], None]]] = {
            Resource.GROUP: (self._join_group, self._leave_group),
            Resource.STORAGE: (self._make_storage, self._drop_storage),
            Resource.SHARES: (self._serve, self._stop_serving),
            Resource.NETWORK: (self._open_tap, self._close_tap),
            Resource.MACHINE: (self._start_machine, self._end_machine),
            Resource.CHANNEL: (self._greet, self._hang_up),
        }

    def acquire(self, resource: Resource) -> None:
        """Get it, or raise SandboxError or OSError with a half of it left to release."""
        self._told(resource)
        self._ways[resource][0]()

    def release(self, resource: Resource) -> None:
        """Give it back, or as much of it as there is."""
        self._ways[resource][1]()

    def open_channel(self) -> Channel:
        """The way to the agent. Raises SandboxError where there is none (yet, or any more)."""
        if self.channel is None:
            raise SandboxError("the sandbox does not run")
        return self.channel

    # --- control group --------------------------------------------------------------------------------------

    def _join_group(self) -> None:
        if not self.cgroup.path:
            return
        self._journal.note("cgroup", self.cgroup.path)
        self._homes = group.enter(self.cgroup, group.memory_limit(self.size, self.accel, self.order.spec))

    def _leave_group(self) -> None:
        if self.cgroup.path:
            group.leave(self.cgroup, self._homes)
            empty(self.cgroup)

    # --- storage --------------------------------------------------------------------------------------------

    def _make_storage(self) -> None:
        storage = self.paths.storage(self.id)
        storage.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.plans = plans.make(self.paths, self.order)

    def _drop_storage(self) -> None:
        drop_storage(self.paths, self.id)

    # --- shared directories ---------------------------------------------------------------------------------

    def _serve(self) -> None:
        for share in self.plans.shares():
            child, connection = shares.serve(self.paths, self.id, share, self.cgroup, self._journal)
            self.helpers.append(child)
            self._sockets.append((share.tag, connection))

    def _stop_serving(self) -> None:
        while self._sockets:
            os.close(self._sockets.pop()[1])
        while self.helpers:
            child = self.helpers.pop()
            child.process.end()
            reap(child)
        reap_orphans()
        users.forget(self.paths, self.id)

    # --- network --------------------------------------------------------------------------------------------

    def _open_tap(self) -> None:
        nic = self.order.spec.nic
        if nic.kind is NetKind.TAP:
            self._journal.note("tap", nic.tap)
            self._tap = network.open_up(nic)

    def _close_tap(self) -> None:
        if self._tap >= 0:
            os.close(self._tap)
            self._tap = -1

    # --- machine --------------------------------------------------------------------------------------------

    def _start_machine(self) -> None:
        host = this_host()
        launcher = Launcher(self.paths, host, self._templates(), await_agent)
        request = Request(
            id=self.id,
            guest=self.order.guest,
            size=self.size,
            accel=self.accel,
            cgroup=self.cgroup,
            tap=self._tap,
            shares=tuple(self._sockets),
            use_template=self.order.use_template and not self.silent_starts,
            allow_emulation=self.order.spec.allow_emulation,
        )
        refused = launcher.refusal(request)
        if refused is not None:
            raise HostUnfit(refused.reason, refused.why, "change the limits")
        key = launcher.key(request)
        if request.use_template and not self._sockets and not (self.paths.templates / key / "facts").exists():
            self._told("template")
        try:
            self.vm = launcher.start(request)
        except VmmFailed as error:
            self._blame_helpers(error)
            raise
        if self.size.balloon_bytes:
            self.vm.set_memory(self.size.usable_bytes)
        for disk in self.plans.disks():
            disks.attach(self.vm, disk)

    def _templates(self) -> Templates:
        return Templates(self.paths, None if os.geteuid() == 0 else Cgroup(""))

    def _blame_helpers(self, error: VmmFailed) -> None:
        """A virtiofsd that gave up says why; QEMU only that it is gone."""
        for child in self.helpers:
            with suppress(BlockingIOError):
                said = os.read(child.output, 4096).decode(errors="replace").strip()
                if said and not child.process.alive():
                    raise VmmFailed("virtiofsd", "it could not serve a directory", said[-1000:]) from error

    def _end_machine(self) -> None:
        """Also after an interruption, when QEMU or a template maker is known by what was written down alone."""
        vm, self.vm = self.vm, None
        if vm is not None:
            if self.clean:
                with suppress(SandboxError):  # it stays, paused, when its guest is off
                    vm.qmp.wait_event(frozenset({"SHUTDOWN"}), SHUTDOWN_SECONDS)
            vm.close()
        machines.end_makers(self.paths, os.getpid())
        for leftover in machines.leftovers(self.paths):
            if leftover.sandbox_id == self.id:
                machines.end(self.paths, leftover)

    # --- channel --------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        """A guest that says nothing is given up, and another one booted in its place; never more than one."""
        assert self.vm is not None  # noqa: S101 - acquired before
        try:
            self.channel = greet(self.vm)
        except Silent as silent:
            self.silent_starts += 1
            sys.stderr.write(f"{self.id}: {silent}; its machine is booted once more\n")
            sys.stderr.flush()
            if key := self.vm.started.template:  # its guest may have been saved as it is now
                self._templates().discard(key)
            self._start_again()
            self.channel = greet(self.vm)

    def _start_again(self) -> None:
        """Another machine; a virtiofsd ends with the one that it served, which is no surprise here."""
        served, self.helpers = self.helpers, []
        self._end_machine()
        for child in served:
            child.process.end()
            reap(child)
        if served:
            self._stop_serving()
            self._serve()
        self._start_machine()

    def _hang_up(self) -> None:
        """A guest with volumes that outlive it writes them out first, if it still can."""
        channel, self.channel = self.channel, None
        if channel is None:
            return
        channel.beside = None  # its end is what is asked for now
        keeps = any(volume.kind in _KEEPS and not volume.read_only for volume in self.order.spec.volumes)
        if keeps and self.vm is not None and self.vm.alive:
            with suppress(SandboxError):
                channel.on_event = None
                channel.call("shutdown", messages.Shutdown(1000), self._patience())
                self.clean = True
        channel.close()

    def _patience(self) -> float:
        """Seconds for writing volumes out; a guest that has lost a shared directory hangs on it, for ever."""
        served = all(child.process.alive() for child in self.helpers)
        return SHUTDOWN_SECONDS if served else HURRIED_SECONDS


def adopt_orphans() -> None:
    """Processes whose parents die become ours: virtiofsd has a child that it does not wait for."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans() -> None:
    """Collect them, and wait a moment for those that are still dying."""
    deadline = time.monotonic() + ORPHANS_SECONDS
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            time.sleep(0.005)


def await_agent(vm: Vm) -> None:
    """A template is ready when its agent is, and small and still."""
    channel = greet(vm)
    try:
        with suppress(RequestFailed):
            channel.call("quiesce", messages.Quiesce(), HELLO_SECONDS[vm.accel.kind])
    finally:
        channel.close()
    time.sleep(REPORT_SECONDS)
