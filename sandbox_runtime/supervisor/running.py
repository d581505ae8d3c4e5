"""What runs in the guest: every container's first process and every exec, from its beginning to its last byte."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from sandbox_runtime import oci
from sandbox_runtime.lifecycle import state as words
from sandbox_runtime.lifecycle.state import Event
from sandbox_runtime.protocol import messages
from sandbox_runtime.protocol.errors import RequestFailed
from sandbox_runtime.supervisor.host import Host
from sandbox_runtime.supervisor.loop import Loop
from sandbox_runtime.supervisor.processes import Process

DRAIN_SECONDS = 5.0  # for streams that somebody else holds open after their process has ended


class Running:
    """The processes of one sandbox; `feed` is told of what happens to them.

    Attributes:
        processes: by container and exec, until their end is reported.
        users: who the processes of a container are.
    """

    def __init__(self, host: Host, loop: Loop, feed: Callable[[Event], None]) -> None:
        self._host, self._loop, self._feed = host, loop, feed
        self.processes: dict[tuple[str, str], Process] = {}
        self.users: dict[str, oci.User] = {}
        self._execs = 0

    def exec(
        self,
        container: str,
        argv: Sequence[str],
        env: Sequence[str],
        cwd: str,
        user: oci.User | None,
        stdio: tuple[bool, bool, int, int],
        then: Callable[[Any], None],
    ) -> Process:
        """Run another process in a container; `stdio` is (tty, stdin, rows, columns). `then` gets the answer."""
        plan = next(plan for plan in self._host.plans.containers if plan.spec.id == container)
        tty, stdin, rows, columns = stdio
        self._execs += 1
        exec_id = f"e{self._execs}"
        process = Process(self._host.open_channel(), container, exec_id, tty, stdin, (rows, columns))
        description = oci.process(
            argv,
            (*plan.image.env, *plan.spec.env, *env),
            cwd or plan.spec.cwd or plan.image.cwd,
            user or self.users[container],
            tty,
        )
        self.processes[container, exec_id] = process
        self._feed(words.ExecBegun(container, exec_id))

        def answered(answer: Any) -> None:
            if isinstance(answer, RequestFailed):
                self.processes.pop((container, exec_id), None)
                self._feed(words.ExecFailed(container, exec_id))
            then(answer)

        request = messages.Exec(container, exec_id, json.dumps(description), process.stdio)
        self._host.open_channel().request("exec", request, answered)
        return process

    def signal(self, container: str, exec_id: str, number: int, everyone: bool) -> None:
        """Send a signal; to a process that has ended it is nothing."""
        if self._host.channel is not None:
            request = messages.Signal(container, exec_id, number, everyone)
            self._host.channel.request("signal", request, lambda _: None)  # nobody waits for the answer

    def resize(self, process: Process, rows: int, columns: int) -> None:
        """Set the size of a terminal."""
        if self._host.channel is not None:
            request = messages.Resize(process.container, process.exec_id, rows, columns)
            self._host.channel.request("resize", request, lambda _: None)  # nobody waits for the answer

    def exited(self, event: messages.Exited) -> bool:
        """The guest says that a process has ended; False where that is no news."""
        process = self.processes.get((event.id, event.exec_id))
        if process is None or process.code is not None:
            return False
        process.code = event.code
        process.on_drained = lambda: self._over(process)
        process.move()
        if not process.over:
            self._loop.later(DRAIN_SECONDS, lambda: self._undrained(process))
        return True

    def _undrained(self, process: Process) -> None:
        """Clients that still read are waited for; a stream that somebody else in the guest holds open is not."""
        if process.over:
            return
        if any(client.congested for client in process.clients):
            self._loop.later(DRAIN_SECONDS, lambda: self._undrained(process))
        else:
            process.abandon()

    def _over(self, process: Process) -> None:
        """It has ended, and all it wrote was passed on."""
        if process.over or process.code is None:
            return
        process.over = True
        key = (process.container, process.exec_id)
        if process.exec_id and self._host.channel is not None:
            self._host.channel.request(
                "remove", messages.Name(*key), lambda _: None
            )  # nobody waits for the answer
        self._feed(words.Exited(*key, process.code))
