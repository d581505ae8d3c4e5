"""Carries out what `lifecycle.step` decides, and tells it what happened. Knows nothing of who asks: see `control`."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sandbox_runtime.errors import SandboxError
from sandbox_runtime.lifecycle import journal
from sandbox_runtime.lifecycle import state as words
from sandbox_runtime.lifecycle.state import Container, Event, Resource, State, Status, Verdict
from sandbox_runtime.lifecycle.step import step
from sandbox_runtime.paths import Paths
from sandbox_runtime.protocol import messages
from sandbox_runtime.protocol.errors import RequestFailed
from sandbox_runtime.supervisor import group, guest, starts
from sandbox_runtime.supervisor.copying import Copying
from sandbox_runtime.supervisor.deaths import Deaths
from sandbox_runtime.supervisor.failure import Interrupted, failure_code
from sandbox_runtime.supervisor.flood import NoNews
from sandbox_runtime.supervisor.host import Host
from sandbox_runtime.supervisor.logs import Log
from sandbox_runtime.supervisor.loop import Loop
from sandbox_runtime.supervisor.order import Order
from sandbox_runtime.supervisor.processes import Process
from sandbox_runtime.supervisor.pulse import Pulse
from sandbox_runtime.supervisor.running import Running

EXECS_SECONDS = 10.0

Reported = Callable[[str, str, Verdict], None]


class Sandbox:
    """One sandbox, from its order to its end.

    Attributes:
        state: as `step` left it.
        why: what went wrong, in words. interruptible: a signal may raise Interrupted now.
        on_report: told (container, exec_id, verdict) of each end.
        on_started: told when a container runs. on_finish: told once, at the end of everything.
    """

    def __init__(self, paths: Paths, order: Order, loop: Loop, told: Callable[[str], None]) -> None:
        self.paths, self.order, self.loop = paths, order, loop
        self.directory = paths.sandbox(order.spec.id)
        containers = tuple(Container(spec.id) for spec in order.spec.containers)
        self.state = State(main=containers[0].id if containers else "", containers=containers)
        self.why, self.code = "", 0
        self.interruptible = False
        self.on_report: Reported = lambda container, exec_id, verdict: None
        self.on_started: Callable[[], None] = lambda: None
        self.on_finish: Callable[[], None] = lambda: None
        self.timings: list[tuple[str, float]] = []
        self._begin = time.monotonic()
        self._told = told
        self.host = Host(paths, order, journal.Journal(self.directory), self._phase)
        self.running = Running(self.host, loop, self.feed)
        self.deaths = Deaths(self.host, loop, self._died)
        self._events: deque[Event] = deque()
        self._busy = False
        self.copying = Copying(loop, self._blame)
        self._start: dict[str, Any] = {}
        self._counted = False
        self._pulse: Pulse | None = None
        self._no_news = NoNews()

    # --- deciding -------------------------------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        """Something happened. Returns when all that follows at once is done."""
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                before = self.state.phase
                self.state, actions = step(self.state, self._events.popleft())
                if self.state.phase is not before:
                    self.save()
                for action in actions:
                    self._perform(action)
        finally:
            self._busy = False

    def save(self) -> None:
        """Write down how it stands, for commands and for whoever comes after a crash. A full disk does not kill us."""
        with suppress(OSError):
            journal.write_outcome(self.directory, self.outcome())

    def outcome(self) -> dict[str, Any]:
        """How it stands."""
        main = self.state.container(self.state.main)
        verdict = main.verdict if main and main.status is Status.STOPPED else None
        vm = self.host.vm
        if vm is not None:
            how = vm.started
            self._start = {
                "restored": how.restored,
                "why_cold": how.why_cold,
                "why_kept": how.why_kept,
                "vmm": vm.pids,
            }
        return {
            "phase": self.state.phase,
            "code": verdict.code if verdict else None,
            "reason": verdict.reason if verdict else self.state.ending,
            "why": self.why,
            "failure_code": self.code,
            "accel": self.host.accel.kind,
            "pid": os.getpid(),
            "timings": [[name, round(seconds, 6)] for name, seconds in self.timings],
            "memory_bytes": self.host.size.memory_bytes,
            "vcpus": self.host.size.vcpus,
            "silent_starts": self.host.silent_starts,
            **self._start,
        }

    def _phase(self, name: str) -> None:
        self.timings.append((name, time.monotonic() - self._begin))
        self._told(name)
        if name == self.order.stop_at:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _perform(self, action: words.Action) -> None:
        match action:
            case words.Acquire(resource):
                self._try(lambda: self._acquire(resource), words.Acquired(resource))
            case words.Release(resource):
                self._release(resource)
            case words.Prepare():
                self._try(self._prepare, words.Prepared())
            case words.Report(container, exec_id, verdict):
                self._report(container, exec_id, verdict)
            case words.Complain(why):
                self.why = self.why or why
            case words.Finish():
                self.save()
                self.on_finish()
            case _:
                self._perform_on_container(action)

    def _perform_on_container(self, action: words.Action) -> None:
        match action:
            case words.Start(container):
                self._start_container(container)
            case words.Terminate(container):
                self.running.signal(container, "", signal.SIGTERM, False)
            case words.Kill(container):
                self.running.signal(container, "", signal.SIGKILL, True)
            case words.AwaitExecs(container):
                self.loop.later(EXECS_SECONDS, lambda: self.feed(words.ExecsOverdue(container)))
            case words.AwaitGrace():
                self.loop.later(self.order.grace_seconds, lambda: self.feed(words.GraceOver()))
            case _:
                pass

    def _try(self, work: Callable[[], None], done: Event) -> None:
        """Slow work at the start: signals may interrupt it, failures end it."""
        self.interruptible = True
        try:
            work()
            self.interruptible = False
            self.feed(done)
        except Interrupted:
            self.feed(words.StopAsked())
            self.feed(words.Failed("stopped"))
        except (SandboxError, OSError) as error:
            self.code = failure_code(error)
            self.feed(words.Failed(str(error)))
        finally:
            self.interruptible = False

    def _acquire(self, resource: Resource) -> None:
        self.host.acquire(resource)
        if resource is Resource.CHANNEL:
            self.deaths.watch()
            self._watch_channel()

    def _release(self, resource: Resource) -> None:
        """Whatever goes wrong, the rest is released too."""
        self._phase(f"release-{resource}")
        try:
            if resource is Resource.CHANNEL and self.host.channel is not None:
                self.loop.forget(self.host.channel)
                self.copying.end()
                if self._pulse is not None:
                    self._pulse.end()
            if resource is Resource.MACHINE:
                self.deaths.forget_machine()
            if resource is Resource.SHARES:
                self.deaths.forget_helpers()
            self.host.release(resource)
        except (SandboxError, OSError) as error:
            self.why = self.why or f"{resource}: {error}"
        self.feed(words.Released(resource))

    def _blame(self, why: str) -> None:
        self.why = self.why or why

    def _died(self, reason: str, said: str) -> None:
        self._blame(said)
        self.feed(words.VmmDied(reason))

    def on_child(self) -> None:
        """SIGCHLD, which may come while something slow is under way."""
        if self.interruptible:
            self.deaths.interrupt()

    def _watch_channel(self) -> None:
        channel = self.host.open_channel()
        channel.on_event = self._guest_says
        self.loop.watch(
            channel,
            lambda: self._pump(channel.on_readable),
            lambda: self._pump(channel.on_writable),
            lambda: channel.wants_write,
        )

    def _pump(self, work: Callable[[], None]) -> None:
        """A channel that ends because QEMU did is QEMU's end; one that breaks the protocol is the guest's."""
        fd = self.host.open_channel().fileno()
        try:
            work()
        except SandboxError as error:
            self.loop.forget(fd)
            self.why = self.why or str(error)
            if self.host.vm is None or not self.host.vm.wait(0.5):
                self.feed(words.AgentLost("agent-lost"))
            else:
                self.deaths.machine_died()

    def _silent(self, why: str) -> None:
        """Nothing that is asked of this guest will be done any more, not even an orderly end."""
        channel = self.host.open_channel()
        self.loop.forget(channel)
        channel.close()
        self._blame(why)
        self.feed(words.AgentLost("agent-lost"))

    def _guest_says(self, event: Any) -> None:
        """Raises ProtocolViolation where it keeps saying what is no news."""
        if isinstance(event, messages.OutOfMemory):
            before = self.state
            self.feed(words.OutOfMemory(event.id))
            if self.state == before:
                self._no_news.count(time.monotonic())
            return
        if not self.running.exited(event):
            self._no_news.count(time.monotonic())

    def _report(self, container: str, exec_id: str, verdict: Verdict) -> None:
        process = self.running.processes.pop((container, exec_id), None)
        self.save()
        self.on_report(container, exec_id, verdict)
        if process is not None and process.log is not None:
            process.log.close()

    # --- containers -----------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        channel = self.host.open_channel()
        self._phase("configure")
        guest.configure(channel, self.order)
        self._phase("mount")
        guest.mount(channel, self.host.plans)
        self.copying.begin(channel, self.host.plans.volumes)
        self._phase("create")
        for plan in self.host.plans.containers:
            log = Log(self.paths.storage(self.order.spec.id), plan.spec.id)
            process = Process(channel, plan.spec.id, "", plan.spec.tty, plan.spec.stdin, log=log)
            self.running.processes[plan.spec.id, ""] = process
            self.running.users[plan.spec.id] = guest.create(channel, plan, process)
        self._pulse = Pulse(
            self.loop, channel, self.order.ping_seconds, self.order.silence_seconds, self._silent
        )
        self._pulse.begin()
        self._phase("created")

    def _start_container(self, container: str) -> None:
        def started(answer: Any) -> None:
            if isinstance(answer, RequestFailed):
                self.code = failure_code(answer)
                self.feed(words.Failed(str(answer)))
                return
            self._phase("started")
            self._count_start()
            group.limit_cpu(self.host.cgroup, self.order.spec.limits.cpu_milli)
            self.feed(words.Started(container))
            self.on_started()

        self.host.open_channel().request("start", messages.Name(container, ""), started)

    def _count_start(self) -> None:
        """The first container's; figures are no reason to fail."""
        vm = self.host.vm
        if vm is not None and not self._counted:
            self._counted = True
            with suppress(OSError):
                way = "restore" if vm.started.restored else "cold"
                starts.add(self.paths, self.host.accel.kind, way, self.timings)

    def start(self, container: str) -> None:
        """Let a created container run."""
        self.feed(words.StartAsked(container))

    def stop(self) -> None:
        """End in order."""
        self.feed(words.StopAsked())

    def hurry(self) -> None:
        """End without waiting for anything; after `stop`."""
        for _ in range(2):
            self.feed(words.GraceOver())
