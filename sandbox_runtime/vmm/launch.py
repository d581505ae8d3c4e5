"""Starts a machine: restored from a template where that can be, else booted; where neither works, nothing is left.

Read `start` first. QEMU gets listening sockets, files and memory as descriptors and starts in a confinement of its own
(`confine`); every process is written down (`<directory>/vmm`) before it executes anything, so that `recover` of a later
run finds it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sandbox_runtime.errors import SandboxError, TraceRefused, VmmFailed
from sandbox_runtime.model import Accel, AccelKind, GuestImage, Refused
from sandbox_runtime.paths import Paths
from sandbox_runtime.vmm import accel as accelerator
from sandbox_runtime.vmm import backing, machine, qmp, recover, tap, users
from sandbox_runtime.vmm.cgroup import Cgroup
from sandbox_runtime.vmm.confine import Confinement
from sandbox_runtime.vmm.host import Host, kvm_access
from sandbox_runtime.vmm.machine import Fd, Shape
from sandbox_runtime.vmm.processes import ended
from sandbox_runtime.vmm.sizing import VMM_KVM, VMM_TCG, Size, refusal
from sandbox_runtime.vmm.spawn import spawn
from sandbox_runtime.vmm.templates import Template, Templates
from sandbox_runtime.vmm.vm import Started, Vm, last_words, reap, remove

LOAD_SECONDS = 30.0
SAVE_SECONDS = 60.0
LAST_WORDS_SECONDS = 0.2  # a QEMU that gives up says why just before it ends
NOT_LOADED = "load of migration failed"  # QEMU's words before it gives up (migration/migration.c)
RUNNING = frozenset({"RESUME"})
OOM_SCORE_ADJ = 500  # before the system's services, after what volunteers


class Request(NamedTuple):
    """The machine that is asked for.

    Attributes:
        id: of the sandbox.
        cgroup: joined by QEMU before it runs; made by the caller.
        tap: descriptor of an open tap, -1 for no network card.
        shares: (tag, connected socket of its virtiofsd) of host directories; such a machine is booted, never restored:
            virtiofsd keeps state of its own, and its guest's memory must be shared with it.
        use_template: False boots cold.
        allow_emulation: see `accel.require`.
        oom_score_adj: what the kernel adds when it chooses whom to kill; of the pod, by its class.
    """

    id: str
    guest: GuestImage
    size: Size
    accel: Accel
    cgroup: Cgroup = Cgroup("")
    tap: int = -1
    shares: tuple[tuple[str, int], ...] = ()
    use_template: bool = True
    allow_emulation: bool = False
    oom_score_adj: int = OOM_SCORE_ADJ

    def shape(self, host: Host) -> Shape:
        """What a template for it must look like."""
        kind = self.accel.kind
        return machine.shape_of(
            self.guest, kind, self.size.vcpus, self.size.memory_bytes, self.tap >= 0, host.tsc_khz
        )


class Launcher:
    """Starts machines on one host.

    `await_agent` is given a machine that boots, and returns when its agent has said that it is ready, or raises when it
    is dead; it is how a template knows when it is one.
    """

    def __init__(
        self, paths: Paths, host: Host, templates: Templates, await_agent: Callable[[Vm], object]
    ) -> None:
        self.paths, self.host, self.templates, self.await_agent = paths, host, templates, await_agent

    def start(self, request: Request) -> Vm:
        """A machine that runs; its agent may be spoken to at once. HostUnfit, VmmFailed."""
        accelerator.require(request.accel, request.allow_emulation)
        begin = time.monotonic()
        why_cold = "it has directories of the host by virtiofs" if request.shares else ""
        if request.use_template and not why_cold:
            try:
                return self._restored(request, begin)
            except SandboxError as error:
                why_cold = str(error)
        return self._cold(request, begin, why_cold)

    def key(self, request: Request) -> str:
        """Names the template that `request` is restored from; on KVM the guest has seen this very CPU."""
        cpu = self.host.cpu if request.accel.kind is AccelKind.KVM else ""
        return machine.digest(request.shape(self.host), f"{self.host.build} {cpu}")

    def refusal(self, request: Request) -> Refused | None:
        """Why the control group of `request` cannot hold it, or None."""
        vmm = VMM_KVM if request.accel.kind is AccelKind.KVM else VMM_TCG
        return refusal(request.size, request.cgroup.memory_limit(), vmm)

    # --- the two ways ---------------------------------------------------------------------------------------

    def _restored(self, request: Request, begin: float) -> Vm:
        shape = request.shape(self.host)
        key = self.key(request)
        template = self.templates.ensure(
            key, shape.memory_bytes, lambda memory, state: self._make(request, shape, memory, state)
        )
        marks = [("template", time.monotonic() - begin)]
        try:
            return self._load(request, shape, template, begin, marks, put=True)
        except TraceRefused as error:
            vm = self._load(request, shape, template, begin, marks, put=False)
            vm.started = vm.started._replace(why_kept=str(error))
            return vm
        except VmmFailed as error:
            if NOT_LOADED in error.last_words:  # whole, and it does not suit: the next start makes another
                self.templates.discard(key)
            raise  # whatever else happened has to do with this start alone
        finally:
            template.close()

    def _load(
        self,
        request: Request,
        shape: Shape,
        template: Template,
        begin: float,
        marks: list[tuple[str, float]],
        put: bool,
    ) -> Vm:
        passed = [(template.memory, Fd.MEMORY), (template.state, Fd.STATE)]
        argv = machine.restored(shape) if put else machine.restored_over_file(shape)
        vm = self._spawn(request, self.paths.sandbox(request.id), argv, passed, template.key)
        try:
            marks.append(("spawn", time.monotonic() - begin))
            parts = backing.extents(template.memory)  # while QEMU makes its machine
            prepare(vm.qmp)
            if put:
                backing.put(vm.child.process.pid, shape.memory_bytes, Fd.MEMORY, template.memory, parts)
            marks.append(("memory", time.monotonic() - begin))
            load(vm.qmp)
            marks.append(("loaded", time.monotonic() - begin))
        except TraceRefused:
            vm.close()
            raise
        except SandboxError as error:
            raise _last_words(vm, "restore", error) from error
        vm.started = Started(True, "", template.key, tuple(marks))
        return vm

    def _cold(self, request: Request, begin: float, why_cold: str) -> Vm:
        shape = request.shape(self.host)
        tags = [tag for tag, _ in request.shares]
        argv = machine.shared_booted(shape, tags) if tags else machine.booted(shape)
        sockets = [(fd, machine.FIRST_SHARE + number) for number, (_, fd) in enumerate(request.shares)]
        vm = self._spawn(request, self.paths.sandbox(request.id), argv, sockets)
        spawned = time.monotonic() - begin
        try:
            vm.qmp.command("query-status")
        except SandboxError as error:
            raise _last_words(vm, "boot", error) from error
        vm.started = Started(False, why_cold, "", (("spawn", spawned), ("running", time.monotonic() - begin)))
        return vm

    def _make(self, request: Request, shape: Shape, memory: int, state: int) -> None:
        """Boot a machine of nobody, wait for its agent, save it."""
        name = f"{recover.MAKER}{os.getpid()}-{os.urandom(4).hex()}"
        plain = request._replace(id=name, cgroup=self.templates.cgroup)
        if request.tap >= 0:
            plain = plain._replace(tap=tap.nowhere())
        try:
            vm = self._spawn(plain, self.paths.sandbox(name), machine.template(shape), [(memory, Fd.MEMORY)])
        finally:
            if plain.tap >= 0:
                os.close(plain.tap)
        try:
            self.await_agent(vm)
            save(vm.qmp, state)
        except (SandboxError, OSError) as error:
            raise _last_words(vm, "template", error) from error
        vm.close()

    # --- a process ------------------------------------------------------------------------------------------

    def _spawn(
        self,
        request: Request,
        directory: Path,
        argv: list[str],
        passed: Sequence[tuple[int, int]],
        template: str = "",
    ) -> Vm:
        """QEMU with its monitor connected; on failure nothing is left."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        uid = users.claim(self.paths, request.id) if self.host.root else 0
        opened: list[int] = []
        try:
            files = self._files(request, directory, boots=not template)
            opened = [ours for ours, _ in files]
            fds = [*files, *passed, *([(request.tap, Fd.TAP)] if request.tap >= 0 else [])]
            child = spawn(
                [str(self.host.qemu), *argv],
                fds,
                self._confinement(request, directory, uid),
                lambda process: recover.record(directory, process, uid, template),
            )
        except BaseException:
            remove(self.paths, request.id, directory, uid)
            raise
        finally:
            for fd in opened:
                os.close(fd)
        try:
            monitor = qmp.connect(str(directory / "qmp.sock"))
        except SandboxError as error:
            ended(child.pidfd, LAST_WORDS_SECONDS)
            said = last_words(child)
            child.process.end()
            reap(child)
            remove(self.paths, request.id, directory, uid)
            raise VmmFailed("spawn", str(error), said) from error
        vm = Vm(self.paths, request.id, directory, request.accel, child, monitor, uid)
        vm.memory_bytes = request.size.memory_bytes
        return vm

    def _files(self, request: Request, directory: Path, boots: bool) -> list[tuple[int, int]]:
        guest = request.guest
        files = [(guest.image, Fd.IMAGE)]
        if boots:
            files += [(guest.kernel, Fd.KERNEL), (guest.initrd, Fd.INITRD)]
        fds = [
            (listen(directory / "qmp.sock"), int(Fd.QMP)),
            (listen(directory / "agent.sock"), int(Fd.AGENT)),
        ]
        for path, number in files:
            if path is not None:
                fds.append((os.open(path, os.O_RDONLY | os.O_CLOEXEC), int(number)))
        return fds

    def _confinement(self, request: Request, directory: Path, uid: int) -> Confinement:
        devices, groups = kvm_access(self.host, request.accel)
        jail = directory / "root"
        if uid:
            jail.mkdir(exist_ok=True)
        program = self.host.qemu
        beside = () if program.is_relative_to("/usr") else (str(program.parent),)
        return Confinement(
            uid=uid,
            groups=groups if uid else (),
            jail=str(jail) if uid else "",
            visible=beside,
            devices=devices,
            cgroup=tuple(request.cgroup.join_files()),
            oom_score_adj=request.oom_score_adj,
        )


def prepare(monitor: qmp.Qmp) -> None:
    """Say that memory is not in the stream. A monitor answers when the machine, memory and all, has been made."""
    monitor.command(
        "migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}]
    )


def load(monitor: qmp.Qmp) -> None:
    """Load the passed state and run."""
    monitor.command("migrate-incoming", uri=f"fd:{int(Fd.STATE)}")
    monitor.wait_event(RUNNING, LOAD_SECONDS)


def save(monitor: qmp.Qmp, state: int) -> None:
    """Write device state to the file `state`. Memory stays where it is; the machine is stopped by it."""
    capabilities = [{"capability": name, "state": True} for name in ("x-ignore-shared", "events")]
    monitor.command("migrate-set-capabilities", capabilities=capabilities)
    monitor.name_fd(state, "state")  # unlike `migrate-incoming`, this one takes no number
    monitor.command("migrate", uri="fd:state")
    deadline = time.monotonic() + SAVE_SECONDS
    while time.monotonic() < deadline:
        status = monitor.wait_event(frozenset({"MIGRATION"}), SAVE_SECONDS)["data"]["status"]
        if status == "completed":
            return
        if status == "failed":
            break
    raise VmmFailed("template", "QEMU could not save the machine")


def listen(path: Path) -> int:
    """A listening unix socket for QEMU to inherit; connecting works from now on."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(0o600)
        server.listen(8)
        return server.detach()


def _last_words(vm: Vm, phase: str, error: Exception) -> VmmFailed:
    """End a machine that did not get there, with what it said about it."""
    vm.wait(LAST_WORDS_SECONDS)
    said = last_words(vm.child)
    vm.close()
    return VmmFailed(phase, str(error), said)
