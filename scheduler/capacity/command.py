"""`bulkhead compare`: one workload under three ways of keeping tenants apart, side by side. Called by `__main__`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from scheduler.capacity.comparison import TITLES, Comparison, Measured, Tenancies, resources
from scheduler.capacity.page import page
from scheduler.capacity.schemes import Part, schemes, without_tenant
from scheduler.capacity.sizing import smallest
from scheduler.capacity.usage import Usage, combined, usage_of
from scheduler.errors import BadInput, Problem
from scheduler.model import Node, Placed, Pod
from scheduler.outputs import refuse_unwritable, write_whole
from scheduler.placement.score.registry import POLICIES, make_policy
from scheduler.placement.state import ClusterState
from scheduler.placement.tenancy import SingleTenant
from scheduler.replay.run import Replay
from scheduler.replay.warm_up import warm_up
from scheduler.traces.inputs import Inputs, read_inputs
from scheduler.traces.workload import scarce_resource, shuffled
from tenants.isolation import needs_sandbox

NODES_FILE = "openb_node_list_gpu_node.csv"
PODS_FILE = "openb_pod_list_default.csv"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "compare",
        help="how many nodes a workload needs: a cluster per tenant, nodes per tenant, shared nodes with sandboxes",
    )
    parser.add_argument("--data", type=Path, help=f"directory that holds {NODES_FILE} and {PODS_FILE}")
    parser.add_argument("--nodes", type=Path, help="node list, instead of --data")
    parser.add_argument("--pods", type=Path, help="pod list, instead of --data")
    parser.add_argument(
        "--tenants", type=Path, default=Path("deploy/tenants"), help="directory of tenant files"
    )
    parser.add_argument(
        "--assign", default="deploy/tenants/assign.rules", help="which pod is whose: rules or a file"
    )
    parser.add_argument("--policy", default="bulkhead", choices=[*POLICIES], help="how places are ranked")
    parser.add_argument("--seed", type=int, default=42, help="order of arrival")
    parser.add_argument("--report", type=Path, help="write the comparison as one HTML page")
    parser.add_argument("--json", action="store_true", help="print the result for machines")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare, print, write the report; 0 done, 2 bad input."""
    if arguments.report:
        refuse_unwritable("--report", arguments.report, make_directory=True)
    nodes, pods = find_trace(arguments)
    inputs = read_inputs(nodes, pods, arguments.tenants, arguments.assign)
    comparison = compare(inputs, arguments.policy, arguments.seed)
    if arguments.report:
        write_whole(arguments.report, page(comparison))
    if arguments.json:
        sys.stdout.write(msgspec.json.encode(comparison).decode() + "\n")
        return 0
    console = Console()
    console.print(as_table(comparison))
    console.print(comparison.verdict)
    if arguments.report:
        console.print(f"report: {arguments.report}", soft_wrap=True)
    return 0


def find_trace(arguments: argparse.Namespace) -> tuple[Path, Path]:
    """The node and pod list, from --nodes and --pods or somewhere below --data."""
    if arguments.nodes and arguments.pods:
        return arguments.nodes, arguments.pods
    if arguments.data is None:
        raise BadInput(
            [Problem("--data", 1, "no trace was named", "give --data DIR, or --nodes FILE and --pods FILE")]
        )
    found = [
        next(iter(sorted(arguments.data.rglob(name))), arguments.data / name)
        for name in (NODES_FILE, PODS_FILE)
    ]
    return found[0], found[1]


def compare(inputs: Inputs, policy: str, seed: int) -> Comparison:
    """Size the smallest cluster of every scheme."""
    pods = shuffled(inputs.cluster, seed)
    whole = schemes(inputs.tenants, pods)
    measured = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        warming = progress.add_task("compiling the placement kernel", total=None)
        warm_up()
        progress.remove_task(warming)
        task = progress.add_task("sizing clusters", total=sum(len(scheme.parts) for scheme in whole))
        for scheme in whole:
            parts = []
            for part in scheme.parts:
                progress.update(task, description=f"sizing: {scheme.name}, {part.users}")
                parts.append(size(part, inputs.cluster.nodes, policy, seed))
                progress.advance(task)
            measured.append(Measured(scheme.name, scheme.wall, combined(parts)))
    return Comparison(1, policy, len(pods), tenancies(inputs, pods), measured)


def size(part: Part, mix: tuple[Node, ...], policy: str, seed: int) -> Usage:
    """The usage of the smallest cluster that holds one part of a scheme."""
    pods = list(part.pods)
    if isinstance(part.tenancy, SingleTenant):
        pods = [Pod(pod.uid, without_tenant(pod.shape)) for pod in pods]

    def fill(nodes: list[Node]) -> Replay | None:
        state = ClusterState(nodes, part.tenancy)
        replay = Replay(
            state, make_policy(policy, seed, None), scarce_resource(nodes, []), time.perf_counter_ns
        )
        return replay if all(isinstance(replay.arrive(pod), Placed) for pod in pods) else None

    return usage_of(smallest(mix, pods, fill).state, pods)


def tenancies(inputs: Inputs, pods: list[Pod]) -> list[Tenancies]:
    """Who owns how many pods."""
    counts = Counter(pod.shape.tenant for pod in pods)
    return [
        Tenancies(name, tenant.trust, counts[name], needs_sandbox(tenant))
        for name, tenant in inputs.tenants.tenants.items()
        if counts[name]
    ]


def as_table(comparison: Comparison) -> Table:
    """The comparison for reading: a column per scheme."""
    table = Table(title=f"{comparison.pods:,} pods, placed three ways", title_justify="left")
    table.add_column("")
    for measured in comparison.schemes:
        table.add_column(measured.name, justify="right")
    table.add_row("wall between tenants", *(measured.wall for measured in comparison.schemes))
    table.add_row("nodes needed", *(f"{measured.usage.nodes:,}" for measured in comparison.schemes))
    for name in resources(comparison):
        used = (f"{measured.usage.used_pct(name):.1f} %" for measured in comparison.schemes)
        stranded = (f"{measured.usage.stranded_pct(name):.1f} %" for measured in comparison.schemes)
        table.add_row(f"{TITLES[name]} used", *used)
        table.add_row(f"{TITLES[name]} stranded", *stranded)
    table.add_row(
        "nodes saved", *(f"{comparison.saved_pct(measured):.1f} %" for measured in comparison.schemes)
    )
    return table
