"""`bulkhead tenants import`: tenant files from what a cluster has: namespaces, quotas, policies, Kueue, Capsule.

What tenant files cannot say is listed with the object that said it. Nothing is written over without --force.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from tenants.adopt import documents
from tenants.adopt.adopt import READ, Adopted, adopt
from tenants.adopt.draft import Doubt
from tenants.command.check import BAD_INPUT
from tenants.files import load
from tenants.live import record
from tenants.live.inputs import InputError, objects
from tenants.live.options import add_cluster, cluster_of
from tenants.model import Trust
from tenants.plan.objects import Object, ref

FAILED = 1


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "import",
        help="write tenant files from a cluster, or from Kueue or Capsule objects",
        description="Reads namespaces, ResourceQuotas, NetworkPolicies, RuntimeClasses, Kueue's ClusterQueue, Cohort, "
        "ResourceFlavor and LocalQueue, and Capsule's Tenant. What tenant files can't say is listed on stderr.",
    )
    add_cluster(parser)
    parser.add_argument(
        "--from",
        dest="dumps",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="files of `kubectl get -o yaml` instead",
    )
    parser.add_argument("--to", type=Path, metavar="DIR", help="one file per tenant there (default: stdout)")
    parser.add_argument("--force", action="store_true", help="write over files that exist")
    parser.add_argument(
        "--trust",
        type=Trust,
        default=Trust.UNTRUSTED,
        choices=list(Trust),
        help="of tenants that nothing says it of",
    )
    parser.add_argument(
        "--from-objects",
        action="store_true",
        help="rebuild from the objects even where apply left its record",
    )
    parser.add_argument("--format", default="text", choices=("text", "json"), help="of the list of doubts")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Import; 0 done, 1 the result is no valid set of tenant files, 2 bad input."""
    try:
        found = list(objects(arguments.dumps) if arguments.dumps else _live(arguments))
    except InputError as error:
        sys.stderr.write(f"bulkhead tenants import: {error}\n")
        return BAD_INPUT
    adopted = _adopted(found, arguments)
    files = documents.by_file(adopted.tenants)
    _report(adopted.doubts, arguments.format)
    if arguments.to is None:
        sys.stdout.write("---\n".join(files.values()))
    elif (existing := [name for name in files if (arguments.to / name).exists()]) and not arguments.force:
        sys.stderr.write(f"bulkhead tenants import: {arguments.to} has {', '.join(existing)}; add --force\n")
        return BAD_INPUT
    else:
        arguments.to.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (arguments.to / name).write_text(text, encoding="utf-8")
        sys.stderr.write(
            f"{len(files)} files in {arguments.to}; look at every doubt, then `check` and `plan`\n"
        )
    return _checked(files)


def _adopted(found: list[Object], arguments: argparse.Namespace) -> Adopted:
    """The record of the last apply is the files themselves; without it the objects are asked."""
    kept = next((one for one in found if ref(one) == record.place()), None)
    remembered = record.recall(kept) if kept and not arguments.from_objects else None
    if remembered is None:
        return adopt(found, arguments.trust)
    why = "holds the files as last applied, so nothing else was read; --from-objects reads the objects"
    return Adopted(remembered, (Doubt(str(record.place()), why),))


def _live(arguments: argparse.Namespace) -> Iterator[Object]:
    """Everything of the kinds that can be taken over; kinds that the cluster does not have are none."""
    cluster = cluster_of(arguments, {})
    for group, kinds in READ.items():
        for kind in kinds:
            for version in cluster.versions(group):
                yield from cluster.listed(version, kind)


def _report(doubts: tuple[Doubt, ...], form: str) -> None:
    if form == "json":
        sys.stderr.write(msgspec.json.encode(doubts).decode() + "\n")
        return
    for doubt in doubts:
        sys.stderr.write(f"doubt: {doubt}\n")


def _checked(files: Mapping[str, str]) -> int:
    """What was written has to pass `check`; if not, the objects contradict themselves and the reader must decide."""
    found = load.parse(files)
    if not isinstance(found, list):
        return 0
    for problem in found:
        sys.stderr.write(f"{problem}\n")
    return FAILED
