"""The life of a sandbox as a pure function: `step(state, event) -> (state, actions)`. Nothing here does anything.

What holds whatever events come, in whatever order (tests/properties/test_lifecycle.py):

- every Acquire is followed by exactly one Release of the same resource, in reverse order, before Finish;
- a process is reported once, and its success (code 0, `exited`) only if the guest said 0 while its machine lived;
- the execs of a container are reported before its first process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox_runtime.lifecycle import state as words
from sandbox_runtime.lifecycle.state import (
    KILLED,
    ORDER,
    UNKNOWN,
    Action,
    Container,
    Event,
    Phase,
    Report,
    Resource,
    State,
    Status,
    Verdict,
)

Step = tuple[State, tuple[Action, ...]]
LIVE = (Status.CREATED, Status.RUNNING, Status.PAUSED, Status.EXITING)
OVER = (Phase.STOPPED, Phase.DELETED)


def step(state: State, event: Event) -> Step:
    """What an event makes of a state, and what is to be done now, in order."""
    if state.phase in OVER and not isinstance(event, words.Removed):
        return state, ()
    return _HANDLERS[type(event)](state, event)


# --- beginning ------------------------------------------------------------------------------------------------


def _begin(state: State, _: words.Begin) -> Step:
    if state.phase is not Phase.CREATED:
        return state, ()
    if state.ending:
        return _unwind(state, state.ending, KILLED)
    return _acquire(state._replace(phase=Phase.STARTING), ORDER[0])


def _acquire(state: State, resource: Resource) -> Step:
    return state._replace(acquiring=resource), (words.Acquire(resource),)


def _acquired(state: State, event: words.Acquired) -> Step:
    if state.acquiring is not event.resource or state.phase is not Phase.STARTING:
        return state, ()
    state = state._replace(held=(*state.held, event.resource), acquiring=None)
    if state.ending:
        return _unwind(state, state.ending, KILLED)
    position = ORDER.index(event.resource) + 1
    if position < len(ORDER):
        return _acquire(state, ORDER[position])
    return state, (words.Prepare(),)


def _prepared(state: State, _: words.Prepared) -> Step:
    if state.phase is not Phase.STARTING or state.held != ORDER:
        return state, ()
    if state.ending:
        return _unwind(state, state.ending, KILLED)
    return state._replace(phase=Phase.RUNNING, prepared=True), ()


def _failed(state: State, event: words.Failed) -> Step:
    """Of a resource that could not be had there may be a half: it is released like a whole one."""
    if state.phase in (Phase.CREATED, Phase.STOPPING):
        return state, ()
    if state.acquiring is not None:
        state = state._replace(held=(*state.held, state.acquiring), acquiring=None)
    state, actions = _unwind(state, state.ending or "start-failed", UNKNOWN)
    return state, (words.Complain(event.why), *actions)


# --- containers -----------------------------------------------------------------------------------------------


def _start_asked(state: State, event: words.StartAsked) -> Step:
    container = state.container(event.container)
    if state.phase is not Phase.RUNNING or container is None or container.status is not Status.CREATED:
        return state, ()
    return state, (words.Start(container.id),)


def _started(state: State, event: words.Started) -> Step:
    return _move(state, event.container, Status.CREATED, Status.RUNNING), ()


def _paused(state: State, event: words.Paused) -> Step:
    return _move(state, event.container, Status.RUNNING, Status.PAUSED), ()


def _resumed(state: State, event: words.Resumed) -> Step:
    return _move(state, event.container, Status.PAUSED, Status.RUNNING), ()


def _exec_begun(state: State, event: words.ExecBegun) -> Step:
    container = state.container(event.container)
    if container is None or container.status is Status.STOPPED or event.exec_id in container.execs:
        return state, ()
    return _put(state, container._replace(execs=(*container.execs, event.exec_id))), ()


def _out_of_memory(state: State, event: words.OutOfMemory) -> Step:
    container = state.container(event.container)
    return (state, ()) if container is None else (_put(state, container._replace(oom=True)), ())


def _exited(state: State, event: words.Exited) -> Step:
    container = state.container(event.container)
    if container is None or container.status is Status.STOPPED or Resource.MACHINE not in state.held:
        return state, ()
    verdict = Verdict(event.code, "out-of-memory" if container.oom and event.code == KILLED else "exited")
    if event.exec_id:
        return _exec_exited(state, container, event.exec_id, verdict)
    if container.status is Status.EXITING:
        return state, ()
    container = container._replace(status=Status.EXITING, verdict=verdict)
    if container.execs:
        return _put(state, container), (words.AwaitExecs(container.id),)
    return _over(state, container)


def _exec_exited(state: State, container: Container, exec_id: str, verdict: Verdict) -> Step:
    if exec_id not in container.execs:
        return state, ()
    state, actions = _without_exec(state, container, exec_id)
    return state, (Report(container.id, exec_id, verdict), *actions)


def _exec_failed(state: State, event: words.ExecFailed) -> Step:
    container = state.container(event.container)
    if container is None or event.exec_id not in container.execs:
        return state, ()
    return _without_exec(state, container, event.exec_id)


def _without_exec(state: State, container: Container, exec_id: str) -> Step:
    """If its container waited for nothing else, that is over too."""
    container = container._replace(execs=tuple(each for each in container.execs if each != exec_id))
    if container.status is not Status.EXITING or container.execs:
        return _put(state, container), ()
    return _over(state, container)


def _execs_overdue(state: State, event: words.ExecsOverdue) -> Step:
    """They died with their container; the guest owes us their codes and did not pay."""
    container = state.container(event.container)
    if container is None or container.status is not Status.EXITING:
        return state, ()
    lost = Verdict(KILLED, "container-ended")
    reports = tuple(Report(container.id, exec_id, lost) for exec_id in container.execs)
    state, actions = _over(state, container._replace(execs=()))
    return state, (*reports, *actions)


def _over(state: State, container: Container) -> Step:
    """All of a container has ended."""
    assert container.verdict is not None  # noqa: S101 - set where it became EXITING
    state = _put(state, container._replace(status=Status.STOPPED))
    report = Report(container.id, "", container.verdict)
    if container.id == state.main or (state.ending and not _live(state)):
        state, actions = _unwind(state, state.ending or "main-ended", KILLED)
        return state, (report, *actions)
    return state, (report,)


# --- the end --------------------------------------------------------------------------------------------------


def _vmm_died(state: State, event: words.VmmDied) -> Step:
    """What the guest had said of ends, but not all of what was written before them has arrived, counts no more."""
    if Resource.MACHINE not in state.held:
        return state, ()
    return _unwind(state, event.reason, UNKNOWN if event.reason == "guest-died" else KILLED)


def _agent_lost(state: State, event: words.AgentLost) -> Step:
    if Resource.CHANNEL not in state.held:
        return state, ()
    return _unwind(state, event.reason, UNKNOWN)


def _stop_asked(state: State, _: words.StopAsked) -> Step:
    if state.ending or state.phase is Phase.STOPPING:
        return state, ()
    state = state._replace(ending="stopped")
    if state.phase is not Phase.RUNNING:
        return state, ()  # what is under way comes back soon, and finds this
    running = [found.id for found in state.containers if found.status in (Status.RUNNING, Status.PAUSED)]
    if not running:
        return _unwind(state, "stopped", KILLED)
    return state, (*map(words.Terminate, running), words.AwaitGrace())


def _grace_over(state: State, _: words.GraceOver) -> Step:
    if state.phase is not Phase.RUNNING or not state.ending:
        return state, ()
    if state.kills:
        return _unwind(state, "stop-overdue", KILLED)
    live = [found.id for found in state.containers if found.status in LIVE]
    return state._replace(kills=1), (*map(words.Kill, live), words.AwaitGrace())


def _unwind(state: State, reason: str, code: int) -> Step:
    """Report whom nobody heard of, then give back everything, the last first."""
    if state.phase is Phase.STOPPING:
        return state, ()
    reports: list[Action] = []
    ended = []
    for container in state.containers:
        if container.status is not Status.STOPPED:
            verdict = Verdict(code, reason)
            reports += [Report(container.id, exec_id, verdict) for exec_id in container.execs]
            reports.append(Report(container.id, "", verdict))
            container = container._replace(status=Status.STOPPED, execs=(), verdict=verdict)  # noqa: PLW2901
        ended.append(container)
    held = (*state.held, state.acquiring) if state.acquiring else state.held
    state = state._replace(
        phase=Phase.STOPPING, ending=reason, containers=tuple(ended), held=held, acquiring=None
    )
    state, actions = _next_release(state)
    return state, (*reports, *actions)


def _released(state: State, event: words.Released) -> Step:
    if state.phase is not Phase.STOPPING or not state.held or state.held[-1] is not event.resource:
        return state, ()
    return _next_release(state._replace(held=state.held[:-1]))


def _next_release(state: State) -> Step:
    if state.held:
        return state, (words.Release(state.held[-1]),)
    return state._replace(phase=Phase.STOPPED), (words.Finish(),)


def _removed(state: State, _: words.Removed) -> Step:
    return (state._replace(phase=Phase.DELETED), ()) if state.phase is Phase.STOPPED else (state, ())


# --- small ----------------------------------------------------------------------------------------------------


def _live(state: State) -> bool:
    return any(found.status in LIVE for found in state.containers)


def _put(state: State, container: Container) -> State:
    return state._replace(
        containers=tuple(container if each.id == container.id else each for each in state.containers)
    )


def _move(state: State, container_id: str, before: Status, after: Status) -> State:
    container = state.container(container_id)
    if container is None or container.status is not before:
        return state
    return _put(state, container._replace(status=after))


_HANDLERS: dict[type, Callable[[State, Any], Step]] = {
    words.Begin: _begin,
    words.Acquired: _acquired,
    words.Failed: _failed,
    words.Prepared: _prepared,
    words.StartAsked: _start_asked,
    words.Started: _started,
    words.ExecBegun: _exec_begun,
    words.ExecFailed: _exec_failed,
    words.Exited: _exited,
    words.OutOfMemory: _out_of_memory,
    words.Paused: _paused,
    words.Resumed: _resumed,
    words.ExecsOverdue: _execs_overdue,
    words.VmmDied: _vmm_died,
    words.AgentLost: _agent_lost,
    words.StopAsked: _stop_asked,
    words.GraceOver: _grace_over,
    words.Released: _released,
    words.Removed: _removed,
}
