"""`bulkhead tenants audit`: does every running pod have the wall that its tenant's trust demands?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from tenants import pods as running
from tenants.audit import Finding, NodeFact, State, audit
from tenants.command.check import BAD_INPUT, add_paths, tenants_from
from tenants.errors import ClusterError
from tenants.live.inputs import InputError, decoded, objects
from tenants.live.options import add_cluster, cluster_of
from tenants.model import TenantSet
from tenants.pods import Pod

WRONG = 1
_COLUMNS = ("state", "tenant", "trust", "pod", "node", "declared", "runs on", "why")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "audit",
        help="compare what running pods declare with what they run on",
        description="Exit status: 0 nothing is wrong, 1 something is (or, with --strict, could not be verified), "
        "2 bad input.",
    )
    add_paths(parser)
    add_cluster(parser)
    parser.add_argument(
        "--pods", type=Path, nargs="+", metavar="FILE", help="`kubectl get pods -A -o json` instead"
    )
    parser.add_argument(
        "--node-data",
        type=Path,
        metavar="FILE",
        help='what nodes say, as JSON: {"<pod uid>": {"handler": …, "guestKernel": …, "hostKernel": …}}',
    )
    parser.add_argument("--strict", action="store_true", help="fail on what could not be verified, too")
    parser.add_argument("--all", action="store_true", help="also show pods that are right")
    parser.add_argument("--format", default="text", choices=("text", "json"))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Audit."""
    tenants = tenants_from(arguments.paths)
    if tenants is None:
        return BAD_INPUT
    try:
        facts = (
            decoded(arguments.node_data, dict[str, NodeFact], "node data") if arguments.node_data else None
        )
        found = audit(tenants, _pods(arguments, tenants), facts)
    except InputError as error:
        sys.stderr.write(f"bulkhead tenants audit: {error}\n")
        return BAD_INPUT
    shown = found if arguments.all else [one for one in found if one.state is not State.RIGHT]
    if arguments.format == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode() + "\n")
    else:
        sys.stdout.write(_table(shown) + _summary(found))
    failing = {State.WRONG, State.UNVERIFIED} if arguments.strict else {State.WRONG}
    return WRONG if any(one.state in failing for one in found) else 0


def _pods(arguments: argparse.Namespace, tenants: TenantSet) -> list[Pod]:
    if arguments.pods:
        return [running.read(one) for one in objects(arguments.pods) if one["kind"] == "Pod"]
    found = cluster_of(arguments, tenants.pools).pods()
    if found is None:
        raise ClusterError("cannot audit: these credentials may not list the pods of all namespaces", 403)
    return found


def _table(found: list[Finding]) -> str:
    if not found:
        return ""
    rows = [_COLUMNS, *(_row(one) for one in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join(lines) + "\n\n"


def _row(one: Finding) -> tuple[str, ...]:
    why = f"{one.reason}: {one.detail}" if one.reason else ""
    pod = f"{one.namespace}/{one.pod}"
    return one.state.value, one.tenant, one.trust, pod, one.node, one.declared or "-", one.handler or "?", why


def _summary(found: list[Finding]) -> str:
    counts = [f"{sum(one.state is state for one in found)} {state}" for state in State]
    return f"{len(found)} pods of tenants: {', '.join(counts)}\n"
