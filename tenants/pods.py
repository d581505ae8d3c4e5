"""What a running pod says about itself, read from an API object: runtime class, priority, what it takes. Pure.

`plan` counts the pods that a change touches, `audit` compares what they declare with where they run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from tenants.model import DEFAULT_POOL, Dimension, Pool, TenantSet
from tenants.quantity import amount, plus

GONE: Final = frozenset({"Succeeded", "Failed"})
Requests = Mapping[str, int]


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """A pod; `requests` are what the scheduler counts, RuntimeClass overhead included, in model units."""

    uid: str
    namespace: str
    name: str
    node: str = ""
    pool: str = DEFAULT_POOL
    runtime_class: str = ""
    priority: int = 0
    created: str = ""  # RFC 3339 in UTC, so that text order is time order
    requests: Requests = MappingProxyType({})
    phase: str = ""

    @property
    def key(self) -> str:
        """namespace/name."""
        return f"{self.namespace}/{self.name}"


def read(manifest: Mapping[str, Any], pool: str = DEFAULT_POOL) -> Pod:
    """A v1 Pod object as the API server gives it.

    Raises:
        QuantityError: a request is no quantity, which the API server would have refused.
    """
    meta, spec = manifest.get("metadata") or {}, manifest.get("spec") or {}
    return Pod(
        uid=meta.get("uid", ""),
        namespace=meta.get("namespace", "default"),
        name=meta.get("name", meta.get("generateName", "")),
        node=spec.get("nodeName") or "",
        pool=pool,
        runtime_class=spec.get("runtimeClassName") or "",
        priority=spec.get("priority") or 0,
        created=meta.get("creationTimestamp") or "",
        requests=effective_requests(spec),
        phase=(manifest.get("status") or {}).get("phase", ""),
    )


def effective_requests(spec: Mapping[str, Any]) -> Requests:
    """Sum of the containers and sidecars, or the largest init step if that is more, plus overhead.

    Source: k8s.io/component-helpers resource.PodRequests, with pod-level resources taking precedence.
    """
    running = [_requests(container) for container in spec.get("containers") or ()]
    sidecars: list[Requests] = []
    steps: list[Requests] = []
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            sidecars.append(_requests(container))
            steps.append(_total(sidecars))
        else:
            steps.append(_total([*sidecars, _requests(container)]))
    needed = _largest([_total([*running, *sidecars]), *steps])
    needed = {**needed, **_requests(spec)}
    return _total([needed, _amounts(spec.get("overhead") or {})])


def usage(pods: Iterable[Pod], dimension: Dimension, sandboxed: frozenset[str]) -> int:
    """What `pods` take of one dimension; `sandboxed` are the RuntimeClasses that are sandboxes."""
    return sum(charge(pod, dimension, sandboxed) for pod in pods)


def charge(pod: Pod, dimension: Dimension, sandboxed: frozenset[str]) -> int:
    """What one pod takes of one dimension: 0 if it runs in another pool or class, or is over."""
    other_class = dimension.runtime_class not in {"", pod.runtime_class}
    if pod.pool != dimension.pool or other_class or pod.phase in GONE:
        return 0
    if dimension.resource == "pods":
        return 1
    if dimension.resource == "sandboxes":
        return int(pod.runtime_class in sandboxed)
    return pod.requests.get(dimension.resource, 0)


def sandbox_classes(tenants: TenantSet) -> frozenset[str]:
    """Names of the RuntimeClasses whose pods get a kernel of their own."""
    return frozenset(name for name, found in tenants.runtime_classes.items() if found.sandboxed)


def pool_of(node_labels: Mapping[str, str], pools: Mapping[str, Pool]) -> str:
    """The pool of a node: of those whose labels it has, the one that names most; else the default."""
    fitting = [
        (len(pool.node_labels), name)
        for name, pool in pools.items()
        if pool.node_labels and pool.node_labels.items() <= node_labels.items()
    ]
    return max(fitting)[1] if fitting else DEFAULT_POOL


def _requests(container: Mapping[str, Any]) -> Requests:
    """A request that is not stated equals the limit, as the API server's defaulting has it."""
    stated = container.get("resources") or {}
    return _amounts({**(stated.get("limits") or {}), **(stated.get("requests") or {})})


def _amounts(written: Mapping[str, Any]) -> Requests:
    return {resource: amount(resource, text) for resource, text in written.items()}


def _total(parts: Iterable[Requests]) -> Requests:
    total: dict[str, int] = {}
    for part in parts:
        for resource, value in part.items():
            total[resource] = plus(total.get(resource, 0), value)
    return total


def _largest(parts: Iterable[Requests]) -> Requests:
    largest: dict[str, int] = {}
    for part in parts:
        for resource, value in part.items():
            largest[resource] = max(largest.get(resource, 0), value)
    return largest
