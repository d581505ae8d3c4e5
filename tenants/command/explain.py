"""`bulkhead tenants explain flow|pod|quota`: why, in terms of the tenant files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from tenants import pods as running
from tenants.command.check import BAD_INPUT, tenants_from
from tenants.files import load, positions
from tenants.live.inputs import InputError, objects
from tenants.live.options import add_cluster, cluster_of
from tenants.model import TenantSet
from tenants.plan import explain_flow, explain_pod, explain_quota
from tenants.plan.places import Places

NO = 1


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser("explain", help="say why a flow, a pod or a quota is as it is")
    subjects = parser.add_subparsers(required=True, metavar="SUBJECT")
    flow = _subject(
        subjects, "flow", "is a connection open, and which entry decides (exit status 1: closed)", _flow
    )
    for end in ("source", "destination"):
        flow.add_argument(end, help="a tenant, namespace/NAME, or an IP address")
    flow.add_argument("port", help="443, 53/UDP, or the name of a container port")
    pod = _subject(
        subjects, "pod", "which runtime, overhead and tenant, and is it admitted (1: refused)", _pod
    )
    pod.add_argument("manifest", type=Path, help="YAML of pods or of what makes pods; - is stdin")
    pod.add_argument("-n", "--namespace", help="instead of the one in the manifest")
    pod.add_argument("--server", action="store_true", help="also ask the API server, by a dry run")
    quota = _subject(
        subjects, "quota", "path in the tree, guarantee, max, what is available and who decides", _quota
    )
    quota.add_argument("tenant")
    quota.add_argument("--live", action="store_true", help="count the pods that run in the cluster")
    quota.add_argument(
        "--pods", type=Path, nargs="+", metavar="FILE", help="count those of `kubectl get pods -A -o json`"
    )


def _subject(subjects: Any, name: str, about: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subjects.add_parser(name, help=about, description=about)
    parser.add_argument(
        "-f", "--files", dest="paths", nargs="+", type=Path, default=[Path("tenants")], metavar="PATH",
        help="tenant files or directories (default: ./tenants)",
    )  # fmt: skip
    parser.add_argument("--format", default="text", choices=("text", "json"))
    add_cluster(parser)
    parser.set_defaults(run=_guarded(run))
    return parser


def _guarded(run: Any) -> Any:
    """Read the tenant files first; a bad input file is exit status 2."""

    def guarded(arguments: argparse.Namespace) -> int:
        tenants = tenants_from(arguments.paths)
        if tenants is None:
            return BAD_INPUT
        try:
            status: int = run(arguments, tenants, _places(arguments.paths))
        except InputError as error:
            return _bad(str(error))
        return status

    return guarded


def _places(paths: list[Path]) -> Places:
    texts = load.read(paths).texts
    return Places(document for path, text in texts.items() for document in positions.read(path, text)[0])


def _flow(arguments: argparse.Namespace, tenants: TenantSet, places: Places) -> int:
    names = (arguments.source, arguments.destination)
    source, destination = (explain_flow.end_of(tenants, name) for name in names)
    if isinstance(source, str) or isinstance(destination, str):
        return _bad(str(source if isinstance(source, str) else destination))
    flow = explain_flow.flow_of(source, destination, arguments.port)
    if isinstance(flow, str):
        return _bad(flow)
    found = explain_flow.explain(tenants, flow, names, arguments.port, places)
    _show(arguments, explain_flow.text(found), found)
    return 0 if found.open else NO


def _pod(arguments: argparse.Namespace, tenants: TenantSet, places: Places) -> int:
    manifests = [pod for one in objects([arguments.manifest]) if (pod := explain_pod.pod_of(one)) is not None]
    if not manifests:
        return _bad(f"{arguments.manifest} holds no pod and nothing that makes pods")
    found = []
    for manifest in manifests:
        namespace = arguments.namespace or manifest["metadata"].get("namespace") or "default"
        found.append(explain_pod.explain(tenants, manifest, namespace, places))
    _show(arguments, "".join(map(explain_pod.text, found)), found)
    if arguments.server:
        return _ask_server(arguments, tenants, manifests)
    return 0 if all(one.admitted for one in found) else NO


def _ask_server(arguments: argparse.Namespace, tenants: TenantSet, manifests: list[Any]) -> int:
    """What the API server answers counts more than what we read in the files."""
    cluster = cluster_of(arguments, tenants.pools)
    answers = [cluster.would_create_pod(manifest, arguments.namespace) for manifest in manifests]
    for manifest, answer in zip(manifests, answers, strict=True):
        sys.stderr.write(f"server: pod {manifest['metadata']['name']}: {answer or 'admitted'}\n")
    return NO if any(answers) else 0


def _quota(arguments: argparse.Namespace, tenants: TenantSet, places: Places) -> int:
    if arguments.tenant not in tenants.tenants:
        return _bad(
            f"no tenant {arguments.tenant!r}; there are: {', '.join(sorted(tenants.tenants)) or 'none'}"
        )
    pods = []
    if arguments.pods:
        pods = [running.read(one) for one in objects(arguments.pods) if one["kind"] == "Pod"]
    elif arguments.live:
        pods = cluster_of(arguments, tenants.pools).pods() or []
    found = explain_quota.explain(explain_quota.ledger_of(tenants, pods), arguments.tenant, places)
    counted = "" if pods else "Nothing is counted as used; --live or --pods count what runs.\n"
    _show(arguments, explain_quota.text(found) + counted, found)
    return 0


def _show(arguments: argparse.Namespace, text: str, value: Any) -> None:
    if arguments.format == "json":
        text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
    sys.stdout.write(text)


def _bad(why: str) -> int:
    sys.stderr.write(f"bulkhead tenants explain: {why}\n")
    return BAD_INPUT
