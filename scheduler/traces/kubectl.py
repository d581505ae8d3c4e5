"""Reads what `kubectl get nodes,pods -A -o json` (or `-o yaml`) prints: a live cluster as a trace.

Pods that have ended are left out; DaemonSet and static pods stay pinned to their node. An error names the line and
the path of the field. Called by `files`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from scheduler.errors import BadInput, Problem
from scheduler.model import (
    CPU,
    EPHEMERAL,
    GPU_MILLI,
    MEMORY,
    PODS,
    Gpu,
    Node,
    Requirement,
    Shape,
    Spread,
    amounts,
)
from scheduler.traces.assign import Assignment
from scheduler.traces.objects import Container, Item, Listing, PodSpec, Selector
from scheduler.traces.workload import TracePod
from tenants import quantity

GPU_RESOURCE = "nvidia.com/gpu"
GPU_MODEL_LABEL = "nvidia.com/gpu.product"
SANDBOX_LABEL = "bulkhead.dev/sandbox"
BASE_NAMES = {"cpu": CPU, "memory": MEMORY, "ephemeral-storage": EPHEMERAL, "pods": PODS}
ENDED = ("Succeeded", "Failed")
PINNING_OWNERS = ("DaemonSet", "Node")


def read(
    path: Path, assignment: Assignment, owner: Callable[[str], str]
) -> tuple[list[Node], list[TracePod]]:
    """Read the nodes and pods of a listing.

    Args:
        path: the file; `.json`, `.yaml` or `.yml`.
        assignment: rules over the columns `namespace`, `name` and `qos`; without any, `owner` decides.
        owner: the tenant that owns a namespace, or empty.

    Raises:
        BadInput: with every problem found in the items, or the one that made the file unreadable.
    """
    listing = decode(path)
    problems: list[Problem] = []
    nodes: dict[str, Node] = {}
    pods: dict[str, TracePod] = {}
    for number, item in enumerate(listing.items):
        try:
            if item.kind == "Node":
                nodes[once(item.metadata.name, nodes)] = node_of(item)
            elif item.kind == "Pod" and item.status.phase not in ENDED:
                name = f"{item.metadata.namespace}/{item.metadata.name}"
                pods[once(name, pods)] = pod_of(item, name, number, assignment, owner)
        except ValueError as error:
            where = f"$.items[{number}]"
            problems.append(
                Problem(str(path), line_of(path, where), f"{where} {item.metadata.name}: {error}")
            )
    if not nodes and not pods and not problems:
        problems.append(Problem(str(path), 1, "the listing holds no nodes and no pods"))
    if problems:
        raise BadInput(problems)
    return list(nodes.values()), list(pods.values())


def once(name: str, seen: Mapping[str, object]) -> str:
    """A name that has not been seen, else ValueError."""
    if name in seen:
        raise ValueError("appears twice")
    return name


def decode(path: Path) -> Listing:
    """Decode JSON or YAML into the fields that are read."""
    content = path.read_bytes()
    if not content.strip():
        raise BadInput(
            [
                Problem(
                    str(path), 1, "the file is empty", "expected the output of kubectl get nodes,pods -o json"
                )
            ]
        )
    try:
        if path.suffix == ".json":
            return msgspec.json.decode(content, type=Listing, strict=False)
        return msgspec.convert(yaml.load(content, yaml.CSafeLoader), Listing, strict=False)  # a safe loader
    except msgspec.ValidationError as error:
        why, _, where = str(error).partition(" - at ")
        where = where.strip("`")
        raise BadInput([Problem(str(path), line_of(path, where), f"{where or '$'}: {why}")]) from error
    except msgspec.DecodeError as error:
        raise BadInput(
            [Problem(str(path), broken_line(content, str(error)), f"not JSON: {error}")]
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise BadInput([Problem(str(path), mark.line + 1 if mark else 1, f"not YAML: {error}")]) from error


def broken_line(content: bytes, message: str) -> int:
    """The line of the byte offset that msgspec names in its message, `… (byte N)`."""
    _, _, tail = message.partition("(byte ")
    offset = int(tail.rstrip(")")) if tail.rstrip(")").isdigit() else 0
    return content.count(b"\n", 0, offset) + 1


def line_of(path: Path, where: str) -> int:
    """The line of a path like `$.items[3].spec`: JSON is YAML, whose nodes carry marks. 1 where it has none."""
    try:
        node: Any = yaml.compose(path.read_bytes(), yaml.CSafeLoader)
    except yaml.YAMLError:
        return 1
    for step in where.replace("[", ".[").split(".")[1:]:
        found = _step(node, step)
        if found is None:
            break
        node = found
    return int(node.start_mark.line) + 1


def _step(node: Any, step: str) -> Any:
    if step.startswith("[") and isinstance(node, yaml.SequenceNode):
        index = step.strip("[]")
        return node.value[int(index)] if index.isdigit() and int(index) < len(node.value) else None
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    return None


def node_of(item: Item) -> Node:
    """A Node object as placement sees it."""
    capacity, gpus = dict[str, int](), 0
    for name, text in item.status.allocatable.items():
        if name == GPU_RESOURCE:
            gpus = quantity.bytes_(text)
        elif name in ("memory", "ephemeral-storage"):
            capacity[BASE_NAMES[name]] = quantity.bytes_(text) >> 20  # what is offered rounds down
        else:
            capacity[BASE_NAMES.get(name, name)] = quantity.amount(name, text)
    labels = item.metadata.labels
    return Node(
        name=item.metadata.name,
        allocatable=amounts(capacity),
        gpus=gpus,
        gpu_model=labels.get(GPU_MODEL_LABEL, ""),
        labels=tuple(sorted({**labels, "metadata.name": item.metadata.name}.items())),
        taints=tuple(sorted(item.spec.taints)),
        unschedulable=item.spec.unschedulable,
        sandboxes=labels.get(SANDBOX_LABEL, "true") == "true",
    )


def pod_of(
    item: Item, name: str, number: int, assignment: Assignment, owner: Callable[[str], str]
) -> TracePod:
    """A Pod object as placement sees it; `number` is its place in the listing."""
    asked = pod_requests(item.spec)
    gpus = asked.pop(GPU_RESOURCE, 0)
    columns = {"namespace": item.metadata.namespace, "name": item.metadata.name, "qos": item.status.qos_class}
    shape = Shape(
        requests=amounts({BASE_NAMES.get(resource, resource): value for resource, value in asked.items()}),
        gpu=Gpu(gpus // GPU_MILLI, GPU_MILLI) if gpus else None,
        tenant=assignment.tenant_of(columns) if assignment.rules else owner(item.metadata.namespace),
        runtime_class=item.spec.runtime_class_name,
        node_selector=tuple(sorted(item.spec.node_selector.items())),
        affinity=required_terms(item.spec),
        tolerations=tuple(sorted(item.spec.tolerations)),
        spread=spread_of(item),
    )
    pinned = any(owner.kind in PINNING_OWNERS for owner in item.metadata.owner_references)
    return TracePod(name, shape, number, item.spec.node_name if pinned else "")


def pod_requests(spec: PodSpec) -> dict[str, int]:
    """Effective requests, as the kubelet and scheduler count them: sidecars add up, plain init containers do not.

    max(containers + sidecars, each init container + the sidecars started before it); KEP-753.
    """
    main = total(*(requests_of(container) for container in spec.containers))
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec.init_containers:
        asked = requests_of(container)
        if container.restart_policy == "Always":
            sidecars = total(sidecars, asked)
        else:
            peak = largest(peak, total(sidecars, asked))
    return largest(total(main, sidecars), peak)


def requests_of(container: Container) -> dict[str, int]:
    """The requests of one container in units of `quantity`; limits stand in for missing requests."""
    stated = {**container.resources.limits, **container.resources.requests}
    return {name: quantity.amount(name, text) for name, text in stated.items()}


def total(*parts: Mapping[str, int]) -> dict[str, int]:
    """Sum per resource."""
    return {
        name: sum(part.get(name, 0) for part in parts) for name in {name for part in parts for name in part}
    }


def largest(*parts: Mapping[str, int]) -> dict[str, int]:
    """Maximum per resource."""
    return {
        name: max(part.get(name, 0) for part in parts) for name in {name for part in parts for name in part}
    }


def required_terms(spec: PodSpec) -> tuple[tuple[Requirement, ...], ...]:
    """The required node affinity terms; matchFields on metadata.name becomes a requirement on that pseudo label."""
    affinity = spec.affinity.node_affinity.required if spec.affinity and spec.affinity.node_affinity else None
    if affinity is None:
        return ()
    return tuple(
        tuple(
            Requirement(expression.key, expression.operator, tuple(sorted(expression.values)))
            for expression in (*term.match_expressions, *term.match_fields)
        )
        for term in affinity.node_selector_terms
    )


def spread_of(item: Item) -> tuple[Spread, ...]:
    """The hard spread constraints; a group is a namespace and a selector."""
    return tuple(
        Spread(
            found.topology_key,
            found.max_skew,
            f"{item.metadata.namespace}:{selector_key(found.label_selector)}",
        )
        for found in item.spec.topology_spread_constraints
        if found.when_unsatisfiable == "DoNotSchedule"
    )


def selector_key(selector: Selector | None) -> str:
    """A canonical text of a selector."""
    return (
        ",".join(f"{key}={value}" for key, value in sorted(selector.match_labels.items())) if selector else ""
    )
