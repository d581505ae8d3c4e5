"""`bulkhead replay`: reads a trace, replays it once per seed, prints a table or JSON. Called by `__main__`."""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from scheduler.errors import BadInput, Problem
from scheduler.model import Placed
from scheduler.outputs import refuse_unwritable
from scheduler.placement.arrivals import Arrivals
from scheduler.placement.score.registry import POLICIES, Policy, make_policy
from scheduler.placement.state import ClusterState
from scheduler.replay.events import EventFile
from scheduler.replay.run import Replay, RunResult, replay
from scheduler.replay.summary import Summary, summarise
from scheduler.replay.warm_up import warm_up
from scheduler.traces.files import read_history
from scheduler.traces.inputs import Inputs, add_options, read_inputs
from scheduler.traces.workload import Cluster, arrivals, arrived_kinds, scarce_resource

ORACLE = "fgd-oracle"
INTERRUPTED = 130
MOST_SEEDS = 10_000


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "replay",
        help="place the pods of a trace on a cluster, one by one, and report what fitted",
        description="Every pod that fits when it arrives is placed when it arrives; nothing is moved or reordered.",
    )
    add_options(parser, required=True)
    parser.add_argument(
        "--policy", default="bulkhead", choices=[*POLICIES, ORACLE], help="how places are ranked"
    )
    parser.add_argument(
        "--load", type=float, help="inflate the trace to this multiple of capacity, and shuffle it"
    )
    parser.add_argument(
        "--seeds", type=parse_seeds, default=[42], help="one run per seed: 42, 42-51 or 1,5,9"
    )
    parser.add_argument("--events", type=Path, help="write one JSON line per decision")
    parser.add_argument(
        "--history", type=Path, help="a pod list from earlier, from which the typical mix is taken"
    )
    parser.add_argument("--json", action="store_true", help="print the result for machines")
    parser.set_defaults(run=run)


def parse_seeds(text: str) -> list[int]:
    """`42`, `42-51` or `1,5,9` as a list."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds; write 42, 42-51 or 1,5,9")
        if int(last or first) - int(first) >= MOST_SEEDS:
            raise argparse.ArgumentTypeError(f"{text!r} are more than {MOST_SEEDS} seeds")
        seeds.extend(range(int(first), int(last or first) + 1))
    if not seeds:
        raise argparse.ArgumentTypeError(f"{text!r} is an empty range")
    return seeds


def run(arguments: argparse.Namespace) -> int:
    """Replay; 0 done, 2 bad input, 130 interrupted (what was done so far is printed)."""
    if arguments.load is not None and not 0 < arguments.load <= 100:
        raise BadInput(
            [Problem("--load", 1, f"{arguments.load} is no load", "write 1.3 for 130 % of capacity")]
        )
    if arguments.events:
        refuse_unwritable("--events", arguments.events)
    inputs = read_inputs(arguments.nodes, arguments.pods, arguments.tenants, arguments.assign)
    history = read_history(arguments.history) if arguments.history else None
    summary = replay_seeds(inputs, arguments, history)
    if arguments.json:
        sys.stdout.write(msgspec.json.encode(summary).decode() + "\n")
    else:
        Console().print(as_table(summary))
    return INTERRUPTED if summary.interrupted else 0


def replay_seeds(inputs: Inputs, arguments: argparse.Namespace, history: Arrivals | None) -> Summary:
    """One replay per seed, with a progress bar on stderr."""
    results: list[RunResult] = []
    cluster = inputs.cluster
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress(console=Console(stderr=True), transient=True))
        events = stack.enter_context(EventFile(arguments.events)) if arguments.events else None
        for seed in arguments.seeds:
            pods = arrivals(cluster, arguments.load, seed)
            task = progress.add_task(f"{arguments.policy} seed {seed}", total=len(pods))
            one = prepare(inputs, policy_for(arguments.policy, seed, cluster, history))
            if events:
                events.begin(
                    arguments.policy, seed, arguments.load, cluster.nodes, inputs.tenancy, inputs.tenants
                )
                events.standing(one.state)
            watcher = events.decision if events else None
            results.append(replay(one, pods, seed, watcher, functools.partial(progress.advance, task)))
            progress.remove_task(task)
            if results[-1].interrupted:
                break
    has_gpus = any(node.gpus for node in cluster.nodes)
    return summarise(
        arguments.policy, arguments.load, results, has_gpus=has_gpus, peak_rss_mib=peak_rss_mib()
    )


def prepare(inputs: Inputs, policy: Policy) -> Replay:
    """A replay on an empty cluster, pinned pods already standing, the kernel compiled."""
    warm_up()
    cluster = inputs.cluster
    state = ClusterState(list(cluster.nodes), inputs.tenancy, identify_nodes=policy.identify_nodes)
    for pod in cluster.pods:
        if pod.pinned_to in state.number_of:
            demand = state.demand(pod.shape)
            state.place(demand, Placed(pod.name, pod.pinned_to, state.fullest_devices(pod.pinned_to, demand)))
    return Replay(state, policy, scarce_resource(cluster.nodes, cluster.pods), time.perf_counter_ns)


def policy_for(name: str, seed: int, cluster: Cluster, history: Arrivals | None = None) -> Policy:
    """The policy of that name; the oracle is FGD that was told the whole trace beforehand."""
    if name == ORACLE:
        return make_policy("fgd", seed, arrived_kinds(cluster.pods))
    return make_policy(name, seed, history)


def peak_rss_mib() -> float:
    """The most memory this process has held: VmHWM, because ru_maxrss includes the parent's before exec."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def as_table(summary: Summary) -> Table:
    """The figures for reading."""
    title = f"{summary.policy}, {len(summary.seeds)} seed(s)" + (
        f", load {summary.load:.0%}" if summary.load else ""
    )
    table = Table(title=title, title_justify="left", show_header=False)
    for name, figure in summary.allocation_pct.items():
        table.add_row(f"{name.partition('_')[0]} allocated", f"{figure.mean:.2f} % ± {figure.sd:.2f}")
    if summary.first_refusal_load_pct:
        table.add_row("first pod refused at", f"{summary.first_refusal_load_pct.mean:.1f} % load")
    table.add_row("pods placed", f"{summary.placed:,}")
    table.add_row("pods refused", f"{summary.failed:,}")
    for reason, count in summary.failed_by_reason.items():
        table.add_row(f"  {reason}", f"{count:,}")
    table.add_row("decisions per second", f"{summary.decisions_per_second:,.0f}")
    table.add_row(
        "decision time", f"p50 {summary.decision_us.p50:.0f} µs, p99 {summary.decision_us.p99:.0f} µs"
    )
    table.add_row("peak memory", f"{summary.peak_rss_mib:.0f} MiB")
    if summary.interrupted:
        table.add_row("interrupted", "the figures are what was done so far")
    return table
