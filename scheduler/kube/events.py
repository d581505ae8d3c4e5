"""Events that people read in `kubectl describe`: each story once, its repetitions as a count (events.k8s.io/v1).

A repetition is counted here and written to the server at most every `REWRITE_S`, so that a pod which waits for
hours costs a write in minutes. What is remembered is bounded; the oldest story is forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec

from scheduler.kube.connection import MERGE, METADATA_ONLY, Connection
from scheduler.kube.writes import Outcome, Written, written_of

CONTROLLER: Final = "bulkhead.dev/scheduler"
NOTE_BYTES: Final = 1024  # the API's limits, pkg/apis/core/validation/events.go
REASON_CHARS: Final = 128
REWRITE_S: Final = 60.0
FORGET_S: Final = 3600.0  # the API server's --event-ttl: what it has forgotten cannot be counted up
REMEMBERED: Final = 8192


class About(msgspec.Struct, frozen=True):
    """Whom an event is about."""

    namespace: str
    name: str
    uid: str
    kind: str = "Pod"
    api_version: str = "v1"


class _Story(msgspec.Struct):
    name: str
    count: int
    first: float
    written: float


class Events:
    """Posts events. `wall` is the wall clock (seconds since 1970), `instance` names this replica."""

    def __init__(self, connection: Connection, wall: Callable[[], float], instance: str) -> None:
        self._connection, self._wall, self._instance = connection, wall, instance[:REASON_CHARS]
        self._stories: OrderedDict[tuple[str, str, str], _Story] = OrderedDict()

    async def post(
        self, about: About, reason: str, note: str, action: str = "Scheduling", *, warning: bool = False
    ) -> Written:
        """Tell a story about an object; the same one again is counted.

        Raises:
            ApiUnavailable: no answer came; nothing is remembered of it.
        """
        key, now = (about.uid, reason, note), self._wall()
        story = self._stories.get(key)
        if story is None or not 0 <= now - story.first < FORGET_S:
            return await self._begin(key, about, now, _event(about, reason, note, action, warning=warning))
        self._stories.move_to_end(key)
        story.count += 1
        if 0 <= now - story.written < REWRITE_S:
            return Written(Outcome.DONE, 200)
        return await self._count_up(key, about, story, now)

    async def _begin(
        self, key: tuple[str, str, str], about: About, now: float, event: dict[str, Any]
    ) -> Written:
        name = f"{about.name[:230]}.{int(now * 1e6):x}"
        event["metadata"]["name"] = name
        event |= {"eventTime": _time(now), "reportingInstance": self._instance}
        written = await self._send("POST", _path(about.namespace), event)
        if written.ok:
            self._stories[key] = _Story(name, 1, now, now)
            if len(self._stories) > REMEMBERED:
                self._stories.popitem(last=False)
        return written

    async def _count_up(self, key: tuple[str, str, str], about: About, story: _Story, now: float) -> Written:
        series = {"count": max(story.count, 2), "lastObservedTime": _time(now)}
        story.written = now
        written = await self._send("PATCH", f"{_path(about.namespace)}/{story.name}", {"series": series})
        if not written.ok:
            self._stories.pop(key, None)  # the server has forgotten it: the next one begins anew
        return written

    async def _send(self, method: str, path: str, body: dict[str, Any]) -> Written:
        answer = await self._connection.request(
            method, path, msgspec.json.encode(body), MERGE if method == "PATCH" else "application/json",
            METADATA_ONLY, deadline_s=10.0, patient=False,
        )  # fmt: skip
        return written_of(answer)


def _event(about: About, reason: str, note: str, action: str, *, warning: bool) -> dict[str, Any]:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": about.namespace or "default"},
        "reportingController": CONTROLLER,
        "action": action,
        "reason": reason[:REASON_CHARS],
        "type": "Warning" if warning else "Normal",
        "note": note.encode()[:NOTE_BYTES].decode(errors="ignore"),
        "regarding": {
            "apiVersion": about.api_version,
            "kind": about.kind,
            "namespace": about.namespace,
            "name": about.name,
            "uid": about.uid,
        },
    }


def _path(namespace: str) -> str:
    return f"/apis/events.k8s.io/v1/namespaces/{quote(namespace or 'default', safe='')}/events"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
