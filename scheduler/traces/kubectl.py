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
from scheduler.kube.convert import ENDED, node_of, shape_of
from scheduler.model import Node
from scheduler.traces.assign import Assignment
from scheduler.traces.listing import Item, Listing
from scheduler.traces.workload import TracePod

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
                nodes[once(item.metadata.name, nodes)] = node_of(item.node())
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


def pod_of(
    item: Item, name: str, number: int, assignment: Assignment, owner: Callable[[str], str]
) -> TracePod:
    """A Pod object as placement sees it; `number` is its place in the listing."""
    pod = item.pod()
    columns = {"namespace": item.metadata.namespace, "name": item.metadata.name, "qos": item.status.qos_class}
    tenant = assignment.tenant_of(columns) if assignment.rules else owner(item.metadata.namespace)
    pinned = any(owner.kind in PINNING_OWNERS for owner in item.metadata.owner_references)
    return TracePod(name, shape_of(pod, tenant), number, item.spec.node_name if pinned else "")
