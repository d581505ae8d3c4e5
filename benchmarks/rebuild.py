"""How long a dead start takes: `python -m benchmarks.rebuild --json`. A real etcd and kube-apiserver, filled first.

In seconds, from the start of a `bulkhead serve` process until its `/readyz` says so, with every pod a tenant's: `empty`
on a ledger that knows nothing and is rebuilt from the cluster, `kept` on the one it left. `nodes` and `pods` are what
the process that is ready knows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import yaml
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.control_plane.binaries import binaries
from benchmarks.control_plane.filling import NAMESPACES, fill
from benchmarks.control_plane.plane import ControlPlane
from benchmarks.control_plane.ports import ControlPlaneBroken
from benchmarks.extender.beside import ACCOUNT, Certificates, Serve
from benchmarks.extender.world import RBAC

KNOWN: Final = {"bulkhead_nodes": "nodes", "bulkhead_pods": "pods"}


def starts(plane: ControlPlane, runs: int) -> list[dict[str, float]]:
    """Dead starts of the process itself, first on an empty ledger and then on the same one."""
    api = plane.api()
    for manifest in yaml.safe_load_all(RBAC.read_text()):
        answer = api.create(manifest)
        if not answer.ok:
            raise ControlPlaneBroken(answer.message)
    tenants = plane.directory / "tenants.yaml"
    tenants.write_text("---\n".join(_tenant(number) for number in range(NAMESPACES)))
    certificates = Certificates(plane.directory / "certificates")
    found = []
    for number in range(runs + 1):
        store = f"sqlite://{plane.directory}/ledger-{number}"
        times = {kind: start(plane, certificates, tenants, store) for kind in ("empty", "kept")}
        if number:  # the first one warms the server's cache, as in a cluster that runs
            found.append({kind: seconds for kind, (seconds, _) in times.items()} | times["kept"][1])
    return found


def start(
    plane: ControlPlane, certificates: Certificates, tenants: Path, store: str
) -> tuple[float, dict[str, float]]:
    """Seconds until one process is ready, and what it knows then."""
    began = time.perf_counter()
    serve = Serve(plane, certificates, tenants, store, "--no-guide")
    with serve:
        serve.wait_ready()
        return time.perf_counter() - began, _known(serve)


def _known(serve: Serve) -> dict[str, float]:
    families = text_string_to_metric_families(serve.get("/metrics")[1])
    return {
        KNOWN[family.name]: sum(sample.value for sample in family.samples)
        for family in families
        if family.name in KNOWN
    }


def _tenant(number: int) -> str:
    quota = "quota:\n  default:\n    cpu: {guaranteed: 8000, max: 16000}\n    memory: {guaranteed: 32Ti, max: 64Ti}\n"
    name = f"team-{number:02}"
    return f"apiVersion: bulkhead.dev/v1\nkind: Tenant\nname: {name}\nnamespaces: [{name}]\n{quota}"


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rebuild", description="time a dead start")
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument("--pods", type=int, default=150_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Fill, measure, print."""
    options = _options(argv)
    with (
        tempfile.TemporaryDirectory() as directory,
        ControlPlane(binaries("etcd", "kube-apiserver"), Path(directory) / "plane", {ACCOUNT: ()}) as plane,
    ):
        fill(plane, options.nodes, options.pods)
        runs = starts(plane, options.runs)
    _print(runs, as_json=options.json)
    return 0


def _print(runs: list[dict[str, float]], *, as_json: bool) -> None:
    medians = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    if as_json:
        sys.stdout.write(json.dumps({"medians": medians, "runs": runs}, indent=2) + "\n")
    else:
        sys.stdout.write("  ".join(f"{key} {value:.2f}" for key, value in medians.items()) + "\n")


if __name__ == "__main__":
    sys.exit(main())
