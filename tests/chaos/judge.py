"""The independent judge: reads etcd's own log and holds every single state of the cluster to the rules.

It shares no code with the scheduler. The API server stores JSON here, and etcd numbers its writes, so between two
events there is no state that was not looked at, whatever else is dead or paused at the time.
"""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.chaos.cast import NODE_CPU, NODE_MIB, NODE_PODS, TENANTS, Limits

PODS, NODES = "/registry/pods/", "/registry/minions/"
EVICTED = {"EvictionByEvictionAPI", "PreemptionByScheduler"}
UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


class Standing(NamedTuple):
    """A pod as the judge sees it; milli-CPU and MiB with the overhead that the API server wrote into it."""

    uid: str
    namespace: str
    name: str
    node: str
    cpu: int
    memory: int
    gated: bool
    leaving: bool
    evicted: bool
    hint: str
    created: float  # when the judge saw it first, monotonic seconds


class Judge:
    """Follows etcd in a thread of its own. `pods` by UID; `violations` must stay empty."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._changed = threading.Condition()
        self._keys: dict[str, str] = {}
        self.pods: dict[str, Standing] = {}
        self.nodes: set[str] = set()
        self.doomed: set[str] = set()
        self.violations: list[str] = []
        self.bound_at: dict[str, float] = {}
        self.binds = self.binds_of_tenants = 0
        self.evictions = 0
        self.revision = 0
        self._usage: Counter[tuple[str, str]] = Counter()
        self._on: dict[str, set[str]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="judge", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join(20)

    def snapshot(self) -> list[Standing]:
        """Every pod that exists now."""
        with self._changed:
            return list(self.pods.values())

    def wait(self, seconds: float = 0.2) -> None:
        """Until something has changed, or that long."""
        with self._changed:
            self._changed.wait(seconds)

    # --- the log of etcd ------------------------------------------------------------------------------------

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                for event in self._events():
                    self._take(event)
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                time.sleep(0.1)
            except Exception as error:
                self.violations.append(f"the judge failed: {error!r}")
                raise

    def _events(self) -> Iterator[dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2)
        try:
            request = {
                "key": _coded(NODES), "range_end": _coded("/registry/pods0"), "start_revision": self.revision + 1,
                "progress_notify": True,
            }  # fmt: skip
            connection.request("POST", "/v3/watch", json.dumps({"create_request": request}))
            answer = connection.getresponse()
            lines = _lines(answer, self._stop)
            for line in lines:
                yield from line.get("result", {}).get("events", ())
        finally:
            connection.close()

    def _take(self, event: dict[str, Any]) -> None:
        key = base64.b64decode(event["kv"]["key"]).decode()
        deleted = event.get("type") == "DELETE"
        with self._changed:
            self.revision = max(self.revision, int(event["kv"]["mod_revision"]))
            if key.startswith(PODS):
                self._pod(key, None if deleted else json.loads(base64.b64decode(event["kv"]["value"])))
            elif key.startswith(NODES):
                (self.nodes.discard if deleted else self.nodes.add)(key.removeprefix(NODES))
            self._changed.notify_all()

    # --- the rules ------------------------------------------------------------------------------------------

    def _pod(self, key: str, found: dict[str, Any] | None) -> None:
        uid = self._keys.get(key, "")
        before = self.pods.get(uid)
        after = standing(found, before) if found else None
        if before is not None and (after is None or after.uid != before.uid):
            self._removed(before)
            before = None
        if after is None:
            self._keys.pop(key, None)
            return
        self._keys[key] = after.uid
        self.pods[after.uid] = after
        if before is not None and before.node and before.node != after.node:
            self._say(f"{key} ({after.uid}) moved from {before.node} to {after.node!r}")
        if after.node and (before is None or not before.node):
            self._bound(after)

    def _removed(self, pod: Standing) -> None:
        del self.pods[pod.uid]
        if pod.node:
            self._count(pod, -1)
            self._on[pod.node].discard(pod.uid)
        self.evictions += pod.evicted
        if pod.uid not in self.doomed and not pod.evicted:
            self._say(f"{pod.namespace}/{pod.name} is lost: nobody who may has deleted it")

    def _bound(self, pod: Standing) -> None:
        self.binds += 1
        self.binds_of_tenants += pod.namespace in TENANTS
        if pod.uid in self.bound_at:
            self._say(f"{pod.namespace}/{pod.name} was bound twice")
        self.bound_at[pod.uid] = time.monotonic()
        self._count(pod, +1)
        self._on.setdefault(pod.node, set()).add(pod.uid)
        if pod.gated:
            self._say(f"{pod.namespace}/{pod.name} was bound through a closed gate")
        self._within_quota(pod)
        self._within_node(pod.node)
        self._beside(pod)

    def _within_quota(self, pod: Standing) -> None:
        limits = TENANTS.get(pod.namespace)
        if limits is None:
            return
        for what, most in (("cpu", limits.cpu), ("memory", limits.memory), ("pods", limits.pods)):
            used = self._usage[pod.namespace, what]
            if used > most:
                self._say(f"tenant {pod.namespace}: {what} {used} of {most} after {pod.name}")

    def _within_node(self, node: str) -> None:
        here = [self.pods[uid] for uid in self._on[node]]
        cpu, memory = sum(pod.cpu for pod in here), sum(pod.memory for pod in here)
        if cpu > NODE_CPU or memory > NODE_MIB or len(here) > NODE_PODS:
            self._say(f"node {node} holds {cpu}m, {memory} MiB, {len(here)} pods")

    def _beside(self, pod: Standing) -> None:
        for uid in self._on[pod.node] - {pod.uid}:
            other = self.pods[uid]
            if forbidden(pod.namespace, other.namespace):
                self._say(f"{pod.namespace}/{pod.name} beside {other.namespace}/{other.name} on {pod.node}")

    def _count(self, pod: Standing, sign: int) -> None:
        self._usage[pod.namespace, "cpu"] += sign * pod.cpu
        self._usage[pod.namespace, "memory"] += sign * pod.memory
        self._usage[pod.namespace, "pods"] += sign

    def _say(self, what: str) -> None:
        self.violations.append(f"revision {self.revision}: {what}")


def forbidden(one: str, other: str) -> bool:
    """Whether the tenants of two pods on one node may not be neighbours; outsiders are not ours to keep apart."""
    nobody = Limits(0, 0, 0)
    mine, theirs = TENANTS.get(one, nobody), TENANTS.get(other, nobody)
    if one not in TENANTS or other not in TENANTS:
        return False
    return mine.alone or theirs.alone or other in mine.never or one in theirs.never


def standing(found: dict[str, Any], before: Standing | None) -> Standing:
    """What the rules read of a stored pod."""
    meta, spec, status = found["metadata"], found["spec"], found.get("status", {})
    requests = [one.get("resources", {}).get("requests", {}) for one in spec["containers"]]
    requests.append(spec.get("overhead", {}))
    reasons = {one.get("reason") for one in status.get("conditions", ()) if one["type"] == "DisruptionTarget"}
    return Standing(
        uid=meta["uid"],
        namespace=meta["namespace"],
        name=meta["name"],
        node=spec.get("nodeName", ""),
        cpu=sum(milli(one.get("cpu", "0")) for one in requests),
        memory=sum(mib(one.get("memory", "0")) for one in requests),
        gated=bool(spec.get("schedulingGates")),
        leaving="deletionTimestamp" in meta,
        evicted=not reasons.isdisjoint(EVICTED),
        hint=status.get("nominatedNodeName", ""),
        created=before.created if before and before.uid == meta["uid"] else time.monotonic(),
    )


def milli(written: str) -> int:
    """Milli-CPU."""
    return int(written[:-1]) if written.endswith("m") else int(written) * 1_000


def mib(written: str) -> int:
    """MiB."""
    for unit, size in UNITS.items():
        if written.endswith(unit):
            return int(written.removesuffix(unit)) * size >> 20
    return int(written) >> 20


def _lines(answer: http.client.HTTPResponse, stop: threading.Event) -> Iterator[dict[str, Any]]:
    buffer = b""
    while not stop.is_set():
        try:
            more = answer.read1(1 << 20)
        except TimeoutError:
            return  # silence: asked again from the next revision
        if not more:
            return
        *whole, buffer = (buffer + more).split(b"\n")
        for line in whole:
            yield json.loads(line)


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
