"""Does a real kube-scheduler keep every rule? `python -m benchmarks.extender.truth`: more pods of six tenants than fit.

Gated pods flood a control plane with `bulkhead serve` and kube-scheduler; two tenants want more than their quota, and
all together more than the nodes hold. When nothing moves any more, the answers are worked out anew from what the API
server shows, without any code of the scheduler: quota, walls between tenants, room of every node. Each pod that waits
must have a reason. The packing is compared with `bulkhead replay` of the same arrivals. Exit status 1 where a rule was
broken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.extender import population
from benchmarks.extender.beside import ROOT
from benchmarks.extender.bindings import Bindings
from benchmarks.extender.variants import GUIDED
from benchmarks.extender.window import start_beside, start_scheduler
from benchmarks.extender.world import World

SHORT: Final = {0: 1500, 3: 1500}
"""CPUs that these tenants may have at most; with 13,000 pods each wants some 2,900."""
PLENTY: Final = 6000
QUIET_S: Final = 8.0
CONDITION: Final = "bulkhead.dev/Admitted"
Pods = Sequence[dict[str, Any]]


def main() -> int:
    """Flood, wait, check, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pods", type=int, default=13_000)
    parser.add_argument("--nodes", type=int, default=430)
    parser.add_argument("--limit", type=float, default=900, help="seconds")
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    files = population.tenant_files(options.nodes * 2, PLENTY, SHORT)
    with (
        tempfile.TemporaryDirectory(dir=options.directory) as name,
        World(Path(name), options.nodes, files) as world,
        contextlib.ExitStack() as stack,
    ):
        beside = start_beside(world, GUIDED, stack)
        start_scheduler(world, GUIDED, beside, stack, elects=False)
        manifests = [
            population.pod(number, gated=True, owners=world.owners if number % 2 else None)
            for number in range(options.pods)
        ]
        bindings = stack.enter_context(Bindings(world.plane.kubeconfig()))
        began = time.time()  # noqa: TID251 - compared with the watch's
        world.create_pods(manifests)
        pods = settled(world, bindings, options.limit)
        found = checked(pods, options.nodes)
        found["seconds"] = round(bindings.times[-1][0] - began, 1)
        turns = {pod: turn for turn, (_, pod) in enumerate(bindings.times)}
        found["packing"] = packing(pods, turns, Path(name), world.tenants, options.nodes)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return int(
        bool(
            found["quota overruns"]
            or found["isolation violations"]
            or found["full nodes overrun"]
            or found["without a reason"]
        )
    )


def settled(world: World, bindings: Bindings, limit_s: float) -> Pods:
    """All pods, once nobody is bound any more and everybody else has been told why."""
    deadline, last, since = time.monotonic() + limit_s, -1, time.monotonic()
    while time.monotonic() - since < QUIET_S and time.monotonic() < deadline:
        if len(bindings.times) != last:
            last, since = len(bindings.times), time.monotonic()
        time.sleep(0.2)
    sys.stderr.write(f"bound {last}\n")
    while True:
        pods = world.pods()
        silent = sum(1 for pod in pods if not is_bound(pod) and not reason(pod))
        sys.stderr.write(f"waiting without a word {silent}\n")
        if not silent or time.monotonic() > deadline:
            return pods
        time.sleep(QUIET_S)


def is_bound(pod: dict[str, Any]) -> bool:
    """Whether it has a node."""
    return bool(pod["spec"].get("nodeName"))


def reason(pod: dict[str, Any]) -> str:
    """The reason of the condition that tells why it waits."""
    conditions = pod["status"].get("conditions", ())
    return next((str(found["reason"]) for found in conditions if found["type"] == CONDITION), "")


def cost(pod: dict[str, Any]) -> tuple[int, int]:
    """milli-CPU and MiB that it takes, by its manifest and the overhead that the API server put on it."""
    cpu, memory = request(pod)
    overhead = pod["spec"].get("overhead", {"cpu": "0m", "memory": "0Mi"})
    return cpu + _milli(overhead["cpu"]), memory + _mib(overhead["memory"])


def request(pod: dict[str, Any]) -> tuple[int, int]:
    """milli-CPU and MiB that its container asks for."""
    asked = pod["spec"]["containers"][0]["resources"]["requests"]
    return _milli(asked["cpu"]), _mib(asked["memory"])


def _milli(text: str) -> int:
    return int(text[:-1]) if text.endswith("m") else 1000 * int(text)


def _mib(text: str) -> int:
    return int(text[:-2]) * (1024 if text.endswith("Gi") else 1)


def checked(pods: Pods, nodes: int) -> dict[str, Any]:
    """Every rule, from the manifests alone."""
    bound, waiting = [pod for pod in pods if is_bound(pod)], [pod for pod in pods if not is_bound(pod)]
    used: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    on_node: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    tenants: defaultdict[str, set[str]] = defaultdict(set)
    for pod in bound:
        (cpu, memory), tenant, node = cost(pod), pod["metadata"]["namespace"], pod["spec"]["nodeName"]
        used[tenant] = [used[tenant][0] + cpu, used[tenant][1] + memory]
        on_node[node] = [on_node[node][0] + cpu, on_node[node][1] + memory, on_node[node][2] + 1]
        tenants[node].add(tenant)
    most = {population.team(number): 1000 * SHORT.get(number, PLENTY) for number in range(population.TENANTS)}
    walled = {
        population.team(number) for number in range(population.TENANTS) if not population.is_trusted(number)
    }
    room = (1000 * population.NODE_CPU, 1024 * population.NODE_GIB, population.NODE_PODS)
    return {
        "pods": len(pods),
        "nodes": nodes,
        "bound": len(bound),
        "waiting": len(waiting),
        "quota overruns": [
            t for t, (cpu, memory) in used.items() if cpu > most[t] or memory > 2048 * most[t] // 1000
        ],
        "isolation violations": [n for n, found in tenants.items() if found & walled and len(found) > 1],
        "full nodes overrun": [
            n for n, found in on_node.items() if any(a > b for a, b in zip(found, room, strict=True))
        ],
        "without a reason": [pod["metadata"]["name"] for pod in waiting if not reason(pod)],
        "reasons": dict(Counter(map(reason, waiting))),
        "CPU by tenant / most": {t: f"{used[t][0] / 1000:.1f} / {most[t] / 1000:.0f}" for t in sorted(most)},
        "tenants per node": dict(Counter(len(found) for found in tenants.values())),
    }


def packing(
    pods: Pods, turns: Mapping[str, int], directory: Path, tenants: Path, nodes: int
) -> dict[str, Any]:
    """CPU and memory that containers asked for and got, in per cent of the cluster, as `replay` counts it.

    Once live, with the share that the sandboxes' overhead takes on top, and by `replay` of the pods that quota let in.
    Those are all pods of tenants that no limit held back, and what is bound of the others. They are replayed twice: in
    the order of their names, and in that in which the queue let them through, with those that still wait at the end.

    Args:
        pods: as the API server shows them at the end.
        turns: by namespace/name, the place of a pod in the order of the bindings.
        directory: for the files of the replay.
        tenants: the tenant files.
        nodes: how many.
    """
    at_limit = {pod["metadata"]["namespace"] for pod in pods if reason(pod) == "BorrowingLimitReached"}
    arrived = [pod for pod in pods if is_bound(pod) or pod["metadata"]["namespace"] not in at_limit]
    by_name = sorted(arrived, key=lambda pod: str(pod["metadata"]["name"]))
    by_turn = sorted(by_name, key=lambda pod: turns.get(_path(pod), len(turns)))
    all_nodes = [population.node(number) for number in range(nodes)]
    _write_list(directory / "nodes.json", all_nodes)
    bound = [pod for pod in pods if is_bound(pod)]
    return {
        "live": {**allocated(list(map(request, bound)), nodes), "pods": len(bound)},
        "live with overhead": allocated(list(map(cost, bound)), nodes),
        "replay by name": replayed(by_name, directory, tenants),
        "replay by turn": replayed(by_turn, directory, tenants),
    }


def allocated(parts: Sequence[tuple[int, int]], nodes: int) -> dict[str, float]:
    """The sum of `parts` in per cent of that many nodes."""
    room = (1000 * population.NODE_CPU * nodes, 1024 * population.NODE_GIB * nodes)
    return {
        name: round(100 * sum(each[column] for each in parts) / room[column], 2)
        for column, name in enumerate(("cpu_milli", "memory_mib"))
    }


def replayed(arrivals: Pods, directory: Path, tenants: Path) -> dict[str, float]:
    """What `replay` allocates of the nodes in `directory`, in per cent, and how many pods it places."""
    _write_list(directory / "pods.json", [_fresh(pod) for pod in arrivals])
    files = [f"--nodes={directory}/nodes.json", f"--pods={directory}/pods.json", f"--tenants={tenants}"]
    argv = [sys.executable, "-m", "scheduler", "replay", *files, "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found = json.loads(done.stdout)
    found = found[0] if isinstance(found, list) else found
    percent = {name: round(spread["mean"], 2) for name, spread in found["allocation_pct"].items()}
    return {**percent, "pods": found["placed"]}


def _write_list(file: Path, items: Sequence[dict[str, Any]]) -> None:
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def _path(pod: dict[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _fresh(pod: dict[str, Any]) -> dict[str, Any]:
    """The pod as it arrived."""
    meta = {key: pod["metadata"][key] for key in ("name", "namespace", "labels", "uid")}
    parts = ("containers", "runtimeClassName", "overhead")
    spec = {key: pod["spec"][key] for key in parts if key in pod["spec"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": {"phase": "Pending"}}


if __name__ == "__main__":
    raise SystemExit(main())
