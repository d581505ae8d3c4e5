"""The words of the life of a sandbox: states, events that change them, actions that follow. Values only.

A sandbox acquires its resources in the order of `Resource`, prepares its containers, runs them, and gives everything
back in the reverse order; there is no other way to its end.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

KILLED = 137  # 128 + SIGKILL: how a process looks whose machine was taken away
UNKNOWN = 255  # what containerd says of a task whose end nobody saw


class Phase(StrEnum):
    """Of a sandbox."""

    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DELETED = "deleted"


class Resource(StrEnum):
    """What a sandbox has outside of its guest, in the order in which it is acquired."""

    GROUP = "group"  # control group, with ourselves in it
    STORAGE = "storage"  # private disks, references to shared layers
    SHARES = "shares"  # a virtiofsd for each shared directory
    NETWORK = "network"  # tap
    MACHINE = "machine"  # QEMU, its user, sockets and reference to a template
    CHANNEL = "channel"  # session with the agent


ORDER = tuple(Resource)


class Status(StrEnum):
    """Of a container."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    EXITING = "exiting"  # its first process has ended, the end of some exec is still to be told
    STOPPED = "stopped"


class Verdict(NamedTuple):
    """How a process ended. `reason` is `exited` where the guest said so, else why we do not know better."""

    code: int
    reason: str


class Container(NamedTuple):
    """One container; `execs` are those whose end was not reported yet."""

    id: str
    status: Status = Status.CREATED
    execs: tuple[str, ...] = ()
    oom: bool = False
    verdict: Verdict | None = None


class State(NamedTuple):
    """A sandbox.

    Attributes:
        main: the container whose end is the end of the sandbox; empty where the sandbox outlives its containers.
        held: acquired and not yet given back, in order of acquisition.
        acquiring: under way; None between two.
        ending: why the sandbox ends, empty while it does not.
        kills: how many times the time allowed for an orderly stop ran out.
        prepared: whether the guest is ready to start containers.
    """

    main: str = ""
    phase: Phase = Phase.CREATED
    held: tuple[Resource, ...] = ()
    acquiring: Resource | None = None
    containers: tuple[Container, ...] = ()
    ending: str = ""
    kills: int = 0
    prepared: bool = False

    def container(self, container_id: str) -> Container | None:
        """The container of that id, if there is one."""
        return next((found for found in self.containers if found.id == container_id), None)


# --- events ---------------------------------------------------------------------------------------------------


class Begin(NamedTuple):
    """The sandbox is wanted."""


class Acquired(NamedTuple):
    """A resource is there."""

    resource: Resource


class Failed(NamedTuple):
    """What was under way (acquiring, preparing, starting a container) did not work; `why` is a code or a sentence."""

    why: str


class Prepared(NamedTuple):
    """Every container is created in the guest."""


class StartAsked(NamedTuple):
    """A container is to run."""

    container: str


class Started(NamedTuple):
    """A container runs."""

    container: str


class ExecBegun(NamedTuple):
    """Another process runs in a container."""

    container: str
    exec_id: str


class ExecFailed(NamedTuple):
    """It did not come to run after all; whoever asked was told."""

    container: str
    exec_id: str


class Exited(NamedTuple):
    """The guest said how a process ended, and all that it wrote has arrived. `exec_id` is empty for the first one."""

    container: str
    exec_id: str
    code: int


class OutOfMemory(NamedTuple):
    """The guest's kernel killed something of this container for memory."""

    container: str


class Paused(NamedTuple):
    """A container stands still."""

    container: str


class Resumed(NamedTuple):
    """It goes on."""

    container: str


class ExecsOverdue(NamedTuple):
    """The first process of a container ended long ago, the guest still has not told the end of its execs."""

    container: str


class VmmDied(NamedTuple):
    """QEMU is gone. `reason` is a code such as `vmm-died`, `vmm-out-of-memory` or `guest-died`."""

    reason: str


class AgentLost(NamedTuple):
    """The agent broke the protocol, closed its end or stopped answering."""

    reason: str


class StopAsked(NamedTuple):
    """An orderly stop."""


class GraceOver(NamedTuple):
    """The time for an orderly stop, or for the deaths after it, has run out."""


class Released(NamedTuple):
    """A resource is given back."""

    resource: Resource


class Removed(NamedTuple):
    """Nothing is left of it, not even what it said."""


Event = (
    Begin
    | Acquired
    | Failed
    | Prepared
    | StartAsked
    | Started
    | ExecBegun
    | ExecFailed
    | Exited
    | OutOfMemory
    | Paused
    | Resumed
    | ExecsOverdue
    | VmmDied
    | AgentLost
    | StopAsked
    | GraceOver
    | Released
    | Removed
)


# --- actions --------------------------------------------------------------------------------------------------


class Acquire(NamedTuple):
    """Get a resource; answer with Acquired or Failed."""

    resource: Resource


class Release(NamedTuple):
    """Give a resource back, as much of it as there is; answer with Released."""

    resource: Resource


class Prepare(NamedTuple):
    """Make the guest ready and create the containers; answer with Prepared or Failed."""


class Start(NamedTuple):
    """Start a container; answer with Started or Failed."""

    container: str


class Terminate(NamedTuple):
    """Ask a container to end."""

    container: str


class Kill(NamedTuple):
    """End a container at once."""

    container: str


class AwaitExecs(NamedTuple):
    """Send ExecsOverdue for this container if its execs have not all ended soon."""

    container: str


class AwaitGrace(NamedTuple):
    """Send GraceOver when the time is over."""


class Report(NamedTuple):
    """Tell whoever waits how a process ended; once for each process."""

    container: str
    exec_id: str
    verdict: Verdict


class Complain(NamedTuple):
    """Tell whoever waits why the sandbox, or a container, did not start."""

    why: str


class Finish(NamedTuple):
    """All is given back: write down the end and go."""


Action = (
    Acquire
    | Release
    | Prepare
    | Start
    | Terminate
    | Kill
    | AwaitExecs
    | AwaitGrace
    | Report
    | Complain
    | Finish
)
