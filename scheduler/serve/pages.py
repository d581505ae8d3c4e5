"""What people and Prometheus read from the server: /metrics, /report, /explain."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs

import msgspec

from scheduler.extender.http import Request, Response, Routes, refusal
from scheduler.mirror.mirror import Mirror
from scheduler.queueing.queue import Queue
from scheduler.serve.explain import explanation
from scheduler.serve.metrics import CONTENT_TYPE, Metrics
from scheduler.serve.report import page, report_of
from scheduler.serve.story import Stories

HTML = b"text/html; charset=utf-8"


class Pages:
    """The handlers over the live state."""

    def __init__(
        self, mirror: Mirror, queue: Queue, stories: Stories, metrics: Metrics, *, unready: Callable[[], str]
    ) -> None:
        self._mirror, self._queue, self._stories, self._metrics = mirror, queue, stories, metrics
        self._unready = unready

    def routes(self) -> Routes:
        """All of them."""
        return {("GET", "/report"): self.report, ("GET", "/explain"): self.explain, **self.metrics_route()}

    def metrics_route(self) -> Routes:
        """The one for Prometheus alone."""
        return {("GET", "/metrics"): self.metrics}

    def metrics(self, request: Request) -> Response:
        """The exposition."""
        return Response(self._metrics.text(), content_type=CONTENT_TYPE.encode())

    def report(self, request: Request) -> Response:
        """The capacity report as a page, or with ?format=json."""
        if why := self._unready():
            return refusal(503, why)
        report = report_of(self._mirror, self._queue.summary())
        if parse_qs(request.query).get("format") == ["json"]:
            return Response(msgspec.json.encode(report))
        return Response(page(report).encode(), content_type=HTML)

    def explain(self, request: Request) -> Response:
        """?pod=namespace/name: where it stands, and why there or why not yet."""
        asked = parse_qs(request.query).get("pod", [""])[0]
        uid = self._mirror.uid_of.get(asked)
        if uid is None:
            return refusal(404, f"no pod {asked!r}; ask for ?pod=namespace/name")
        return Response(msgspec.json.encode(explanation(self._mirror, self._queue, self._stories, uid)))
