"""What Prometheus scrapes. Counters are counted where things happen; what is a state is read when asked for."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from scheduler.mirror.mirror import Mirror
from scheduler.queueing.queue import Queue
from scheduler.serve.carrier import Carrier
from scheduler.serve.guide import Guide

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
WAITS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200, 43200)


class Metrics:
    """The registry of one replica."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.decisions = Counter(
            "bulkhead_decisions", "Decisions about pods by code", ["code"], registry=self.registry
        )
        self.binds = Counter("bulkhead_binds", "Bind calls by outcome", ["outcome"], registry=self.registry)
        self.evictions = Counter(
            "bulkhead_evictions", "Evictions by outcome", ["tenant", "outcome"], registry=self.registry
        )
        self.calls = Histogram(
            "bulkhead_extender_seconds", "Time to answer a call of kube-scheduler", ["verb"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.rounds = Histogram(
            "bulkhead_round_seconds", "Time to decide one round", buckets=SECONDS, registry=self.registry
        )
        self.waits = Histogram(
            "bulkhead_wait_seconds", "From arrival to the open gate", ["tenant"],
            buckets=WAITS, registry=self.registry,
        )  # fmt: skip

    def observe(self, path: str, status: int, seconds: float) -> None:
        """An answer of the server."""
        self.calls.labels(path.strip("/")).observe(seconds)

    def evicted(self, tenant: str, outcome: str) -> None:
        """An eviction, whatever came of it."""
        self.evictions.labels(tenant, outcome).inc()

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self.registry)


class Standing(Collector):
    """Gauges that are read from the live state when scraped."""

    def __init__(
        self, mirror: Mirror, queue: Queue, guide: Guide, carrier: Carrier,
        *, leads: Callable[[], bool], problems: Callable[[], int], unreadable: Callable[[], int],
    ) -> None:  # fmt: skip
        self._mirror, self._queue, self._guide, self._carrier = mirror, queue, guide, carrier
        self._leads, self._problems, self._unreadable = leads, problems, unreadable

    def collect(self) -> Iterator[Metric]:
        """Every gauge."""
        yield _gauge("bulkhead_leader", "1 on the replica that guides", int(self._leads()))
        yield _gauge("bulkhead_nodes", "Nodes that are known", len(self._mirror.nodes))
        yield _gauge("bulkhead_in_flight", "Pods guided and not bound yet", len(self._guide.in_flight))
        yield _gauge("bulkhead_store_reachable", "0 while the store fails", int(not self._carrier.failure))
        yield _gauge("bulkhead_ledger_drift", "Entries ever put right by comparison", self._carrier.drifted)
        yield _gauge(
            "bulkhead_tenant_problems", "Problems of the tenant files; >0: not in force", self._problems()
        )
        yield _gauge(
            "bulkhead_unreadable_objects", "Objects of the watch that were left out", self._unreadable()
        )
        yield from self._pods()
        yield from self._quota()

    def _pods(self) -> Iterator[Metric]:
        stages = GaugeMetricFamily("bulkhead_pods", "Pods by tenant and stage", labels=["tenant", "stage"])
        for (tenant, stage), count in Tally((p.tenant, p.stage) for p in self._mirror.pods.values()).items():
            stages.add_metric([tenant, stage], count)
        yield stages
        waiting = GaugeMetricFamily("bulkhead_waiting", "Gated pods by reason", labels=["tenant", "reason"])
        for tenant, line in self._queue.summary().items():
            for reason, count in line.codes.items():
                waiting.add_metric([tenant, reason], count)
        yield waiting

    def _quota(self) -> Iterator[Metric]:
        labels = ["tenant", "pool", "runtime_class", "resource"]
        used = GaugeMetricFamily(
            "bulkhead_quota_used", "What a tenant's pods take, in ledger units", labels=labels
        )
        room = GaugeMetricFamily("bulkhead_quota_available", "What it may still take", labels=labels)
        ledger = self._mirror.ledger
        for name in self._mirror.tenants.tenants:
            for dimension, amount in ledger.usage(name).items():
                row = [name, dimension.pool, dimension.runtime_class, dimension.resource]
                used.add_metric(row, amount)
                room.add_metric(row, ledger.available(name, dimension))
        yield used
        yield room


def _gauge(name: str, text: str, value: float) -> Metric:
    gauge = GaugeMetricFamily(name, text)
    gauge.add_metric([], value)
    return gauge
