"""The life of a sandbox under any events in any order: what is acquired is released, and success is never invented."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox_runtime.lifecycle import state as words
from sandbox_runtime.lifecycle.state import ORDER, Action, Container, Event, Phase, Resource, State, Verdict
from sandbox_runtime.lifecycle.step import step

NAMES = ("main", "side")
EXECS = ("", "e1", "e2")
names, execs = st.sampled_from(NAMES), st.sampled_from(EXECS)
codes = st.sampled_from((0, 1, 137))
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(words.StartAsked, names),
    st.builds(words.Started, names),
    st.builds(words.ExecBegun, names, st.sampled_from(EXECS[1:])),
    st.builds(words.ExecFailed, names, st.sampled_from(EXECS[1:])),
    st.builds(words.Exited, names, execs, codes),
    st.builds(words.OutOfMemory, names),
    st.builds(words.Paused, names),
    st.builds(words.Resumed, names),
    st.builds(words.ExecsOverdue, names),
    st.builds(words.VmmDied, st.sampled_from(("vmm-died", "guest-died", "vmm-out-of-memory"))),
    st.builds(words.AgentLost, st.just("agent-lost")),
    st.just(words.StopAsked()),
    st.just(words.GraceOver()),
    st.just(words.Failed("no")),
    st.just(words.Begin()),
    st.just(words.Prepared()),
    st.builds(words.Acquired, st.sampled_from(ORDER)),
    st.builds(words.Released, st.sampled_from(ORDER)),
)
# What an obedient world answers, or whether it fails; then anything at all in between.
SCRIPTS = st.lists(st.tuples(st.sampled_from(("answer", "fail", "event")), EVENTS), max_size=60)


class World:
    """Carries actions out, remembers everything, and checks what must hold at each step."""

    def __init__(self) -> None:
        self.state = State("main", containers=tuple(Container(name) for name in NAMES))
        self.pending: list[Action] = []
        self.held: list[Resource] = []
        self.reports: dict[tuple[str, str], Verdict] = {}
        self.said_zero: set[tuple[str, str]] = set()
        self.finished = 0

    def feed(self, event: Event) -> None:
        if isinstance(event, words.Exited) and event.code == 0 and Resource.MACHINE in self.state.held:
            self.said_zero.add((event.container, event.exec_id))
        before = self.state
        self.state, actions = step(before, event)
        for action in actions:
            self.check(action)
        self.pending += [
            each for each in actions if isinstance(each, words.Acquire | words.Release | words.Prepare)
        ]

    def check(self, action: Action) -> None:
        match action:
            case words.Acquire(resource):
                assert resource not in self.held
                assert not self.finished
                self.held.append(resource)
            case words.Release(resource):
                assert self.held.pop() is resource
            case words.Report(container, exec_id, verdict):
                assert (container, exec_id) not in self.reports or exec_id
                if not exec_id:
                    found = self.state.container(container)
                    assert found is not None
                    assert found.execs == ()
                if verdict.code == 0:
                    assert verdict.reason == "exited"
                    assert (container, exec_id) in self.said_zero
                self.reports[container, exec_id] = verdict
            case words.Finish():
                assert self.held == []
                self.finished += 1
            case _:
                pass

    def answer(self, fail: bool = False) -> None:
        """The oldest thing that is under way comes back."""
        if not self.pending:
            return
        action = self.pending.pop(0)
        match action:
            case words.Acquire(resource):
                self.feed(words.Failed("broken") if fail else words.Acquired(resource))
            case words.Prepare():
                self.feed(words.Failed("broken") if fail else words.Prepared())
            case words.Release(resource):
                self.feed(words.Released(resource))
            case _:
                pass


def honest(event: Event) -> bool:
    """Answers come from `World.answer` alone, as from the supervisor."""
    return not isinstance(event, words.Acquired | words.Released | words.Prepared | words.Failed)


def play(script: list[tuple[str, Event]], begin: bool = True) -> World:
    world = World()
    if begin:
        world.feed(words.Begin())
    for kind, event in script:
        if kind == "event" and honest(event):
            world.feed(event)
        else:
            world.answer(fail=kind == "fail")
    return world


@given(SCRIPTS)
@settings(max_examples=400)
def test_whatever_happens_a_stop_ends_everything(script: list[tuple[str, Event]]) -> None:
    world = play(script)
    world.feed(words.StopAsked())
    for _ in range(3):
        for _ in range(40):
            world.answer()
        world.feed(words.GraceOver())
    for _ in range(40):
        world.answer()
    assert world.state.phase is Phase.STOPPED
    assert world.finished == 1
    assert {name for name, exec_id in world.reports if not exec_id} == set(NAMES)


@given(SCRIPTS)
@settings(max_examples=400)
def test_a_machine_that_dies_ends_everything_without_success(script: list[tuple[str, Event]]) -> None:
    world = play(script)
    told = dict(world.reports)
    world.feed(words.VmmDied("vmm-died"))
    later = {key: verdict for key, verdict in world.reports.items() if key not in told}
    assert all(verdict.code != 0 for verdict in later.values())


@given(st.lists(EVENTS, max_size=80))
@settings(max_examples=400)
def test_nonsense_from_the_world_breaks_no_law(events: list[Event]) -> None:
    """Answers to what was never asked, twice, or too late; `World.check` looks at every step."""
    world = World()
    for event in events:
        world.feed(event)
    assert world.finished <= 1


@given(SCRIPTS)
def test_what_is_over_stays_over(script: list[tuple[str, Event]]) -> None:
    world = play(script)
    if world.state.phase is Phase.STOPPED:
        for _, event in script:
            assert step(world.state, event) == (world.state, ())
        assert step(world.state, words.Removed())[0].phase is Phase.DELETED


def test_an_exec_is_reported_before_its_container() -> None:
    world = play([("answer", words.Begin())] * 8)
    for event in (
        words.StartAsked("main"),
        words.Started("main"),
        words.ExecBegun("main", "e1"),
        words.Exited("main", "", 0),
    ):
        world.feed(event)
    assert world.reports == {}
    world.feed(words.Exited("main", "e1", 3))
    assert list(world.reports.items())[:2] == [
        (("main", "e1"), Verdict(3, "exited")),
        (("main", ""), Verdict(0, "exited")),
    ]


def test_an_out_of_memory_kill_is_named() -> None:
    world = play([("answer", words.Begin())] * 8)
    for event in (words.Started("main"), words.OutOfMemory("main"), words.Exited("main", "", 137)):
        world.feed(event)
    assert world.reports["main", ""] == Verdict(137, "out-of-memory")
