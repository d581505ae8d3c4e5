"""What becomes of a pod whose hint is wrong? `python -m benchmarks.extender.hints`, per way and per fault.

Pods are let go with a hint of our choosing, aimed (required affinity to one node, owned by a ReplicaSet) or nominated
(`status.nominatedNodeName`), at a node that cannot take them: never there, gone, full, tainted, cordoned, or in the
hands of a tenant that shares with nobody. A real kube-scheduler and `bulkhead serve` do the rest.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.control_plane.api import Api
from benchmarks.extender import population
from benchmarks.extender.variants import GUIDED
from benchmarks.extender.window import start_beside, start_scheduler
from benchmarks.extender.world import World

HOLD: Final = "benchmark.bulkhead.dev/hold"
PATIENCE_S: Final = 45.0
NODES, NOT_FOUND = 12, 404
TAINT: Final = [{"key": "broken", "value": "yes", "effect": "NoSchedule"}]


def main() -> int:
    """Try all, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=options.directory) as name,
        World(Path(name), NODES, population.tenant_files(40, 300)) as world,
        contextlib.ExitStack() as stack,
    ):
        start_scheduler(world, GUIDED, start_beside(world, GUIDED, stack), stack, elects=False)
        rows = tried(world)
    if options.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        sys.stdout.write("".join(f"{row['way']:9} {row['fault']:10} {row['end']}\n" for row in rows))
    return 0


def tried(world: World) -> list[dict[str, Any]]:
    """One pod for each way and fault, all at once."""
    api = world.api
    _resident(world, 5)  # team-5 has node-00005 for itself
    filler = _filler()
    assert api.create(filler).ok  # noqa: S101
    pods = [
        (way, fault, node, _held(world, way, node, number))
        for number, (fault, node) in enumerate(FAULTS.items())
        for way in ("aimed", "nominated")
    ]
    for break_it in BREAK.values():
        break_it(api)
    time.sleep(2)
    began = time.monotonic()
    for _, _, _, name in pods:
        assert api.merge(f"/api/v1/namespaces/team-1/pods/{name}", {"spec": {"schedulingGates": None}}).ok  # noqa: S101
    ends: dict[str, str] = {}
    while len(ends) < len(pods):
        for _, _, node, name in pods:
            end = "" if name in ends else _end(api, name, node, time.monotonic() - began)
            if end:
                ends[name] = end
        time.sleep(0.1)
    return [{"way": way, "fault": fault, "end": ends[name]} for way, fault, _, name in pods]


FAULTS: Final = {
    "none": "node-00000",
    "never was": "node-99999",
    "gone": "node-00001",
    "full": "node-00002",
    "tainted": "node-00003",
    "cordoned": "node-00004",
    "walled off": "node-00005",
}
BREAK: Final[Mapping[str, Callable[[Api], object]]] = {
    "gone": lambda api: api.delete("/api/v1/nodes/node-00001"),
    "tainted": lambda api: api.merge("/api/v1/nodes/node-00003", {"spec": {"taints": TAINT}}),
    "cordoned": lambda api: api.merge("/api/v1/nodes/node-00004", {"spec": {"unschedulable": True}}),
}


def _held(world: World, way: str, node: str, number: int) -> str:
    """A pod of team-1 with its hint, held by a gate that is not Bulkhead's."""
    pod = population.pod(1 + population.TENANTS * 4, owners=world.owners if way == "aimed" else None)
    name = f"{way}-{number}"
    pod["metadata"]["name"] = name
    pod["spec"]["schedulingGates"] = [{"name": HOLD}]
    if way == "aimed":
        term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
        pod["spec"]["affinity"] = {"nodeAffinity": required}
    made = world.api.create(pod)
    assert made.ok, made.message  # noqa: S101
    if way == "nominated":
        path = f"/api/v1/namespaces/team-1/pods/{name}/status"
        assert world.api.merge(path, {"status": {"nominatedNodeName": node}}).ok  # noqa: S101
    return name


def _resident(world: World, number: int) -> None:
    pod = population.pod(number)
    pod["metadata"]["name"], pod["spec"]["nodeName"] = "resident", f"node-{number:05}"
    assert world.api.create(pod).ok  # noqa: S101


def _filler() -> dict[str, Any]:
    """All of node-00002."""
    pod = population.pod(1)
    pod["metadata"]["name"], pod["spec"]["nodeName"] = "filler", "node-00002"
    pod["spec"]["containers"][0]["resources"] = {
        "requests": {"cpu": str(population.NODE_CPU), "memory": "1Gi"}
    }
    return pod


def _end(api: Api, name: str, hint: str, seconds: float) -> str:
    """What became of the pod; empty while that is open."""
    answer = api.get(f"/api/v1/namespaces/team-1/pods/{name}")
    if answer.status == NOT_FOUND or answer.body["metadata"].get("deletionTimestamp"):
        return f"evicted after {seconds:.1f} s; its controller makes it again, and it is guided anew"
    if node := answer.body["spec"].get("nodeName"):
        return f"bound to {'the hint' if node == hint else 'another node'} within {seconds:.1f} s"
    if seconds < PATIENCE_S:
        return ""
    conditions = answer.body["status"].get("conditions", ())
    return f"waits: {'; '.join(str(found.get('message', '')) for found in conditions)[:150]}"


if __name__ == "__main__":
    raise SystemExit(main())
