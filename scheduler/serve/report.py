"""The live capacity report: what is used, stranded and left, and where every tenant stands. Pure; JSON or one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import Final

import msgspec

from scheduler.capacity.page import STYLE, WIDTH, bar, key, svg
from scheduler.capacity.usage import stranded
from scheduler.mirror.mirror import Mirror
from scheduler.model import CPU, MEMORY, Pod
from scheduler.queueing.queue import TenantSummary
from scheduler.traces.workload import GPU, capacity_of
from tenants.ledger.standing import standings
from tenants.quantity import render

SAMPLE: Final = 2_000
"""Pods by which stranded capacity is judged: a spread sample of those that stand."""
TITLES: Final = {CPU: "CPU", MEMORY: "Memory", GPU: "GPU"}


class Share(msgspec.Struct, frozen=True):
    """One resource of the cluster, in model units; used + overhead + stranded + usable = capacity."""

    resource: str
    capacity: int
    used: int
    overhead: int
    stranded: int
    usable: int


class Line(msgspec.Struct, frozen=True):
    """One tenant or group in one dimension, as people write the amounts; empty `maximum` = unlimited."""

    name: str
    dimension: str
    used: str
    guaranteed: str
    borrowed: str
    lent: str
    available: str
    maximum: str


class Queued(msgspec.Struct, frozen=True):
    """The gated pods of one tenant and why they wait."""

    tenant: str
    pods: int
    reasons: dict[str, int]


class Report(msgspec.Struct, frozen=True):
    """The whole report; also the JSON of /report."""

    nodes: int
    empty_nodes: int
    pods: int
    shares: tuple[Share, ...]
    tenants: tuple[Line, ...]
    waiting: tuple[Queued, ...]


def report_of(mirror: Mirror, waiting: Mapping[str, TenantSummary]) -> Report:
    """Measure the cluster now."""
    standing = [pod for pod in mirror.pods.values() if pod.placed is not None]
    occupied = {pod.node for pod in standing}
    return Report(
        nodes=len(mirror.nodes),
        empty_nodes=len(mirror.nodes) - len(occupied),
        pods=len(standing),
        shares=_shares(mirror),
        tenants=_lines(mirror),
        waiting=tuple(
            Queued(name, line.waiting, dict(line.codes))
            for name, line in sorted(waiting.items())
            if line.waiting
        ),
    )


def _shares(mirror: Mirror) -> tuple[Share, ...]:
    state = mirror.state
    present = sorted(state.number_of.values())
    pods = [Pod(uid, state.demands[found.demand].shape) for uid, found in state.pods.items()]
    sample = pods[:: max(1, len(pods) // SAMPLE)]
    lost = stranded(state, present, sample) if sample else {}
    taken: Counter[str] = Counter()
    for demand, count in Counter(found.demand for found in state.pods.values()).items():
        for name, amount in state.demands[demand].admission.overhead:
            taken[name] += amount * count
    free = {
        CPU: state.free[present, 0].sum(),
        MEMORY: state.free[present, 1].sum(),
        GPU: state.gpu_free[present].sum(),
    }
    found = []
    for name, capacity in capacity_of(list(mirror.nodes.values())).items():
        if name in free and capacity:
            left = max(0, int(free[name]))
            stuck, extra = min(left, lost.get(name, 0)), taken[name]
            used = max(0, capacity - left - extra)
            found.append(Share(name, capacity, used, extra, stuck, left - stuck))
    return tuple(found)


def _lines(mirror: Mirror) -> tuple[Line, ...]:
    found = []
    for one in standings(mirror.ledger):
        resource = one.dimension.resource

        def text(amount: int, resource: str = resource) -> str:
            return render(resource, amount) if amount >= 0 else f"-{render(resource, -amount)}"

        most = text(one.max) if isinstance(one.max, int) else ""
        found.append(
            Line(
                name=one.name, dimension=str(one.dimension), used=text(one.used), guaranteed=text(one.guaranteed),
                borrowed=text(one.borrowed), lent=text(one.lent), available=text(one.available), maximum=most,
            )
        )  # fmt: skip
    return tuple(found)


def page(report: Report) -> str:
    """The report as one self-contained page: no script, nothing fetched."""
    bars = "".join(
        f"<h2>{TITLES.get(share.resource, escape(share.resource))}</h2>{_bar(share)}"
        for share in report.shares
    )
    head = ("who", "dimension", "used", "guaranteed", "borrowed", "lent", "available", "max")
    rows = [[getattr(line, field) for field in Line.__struct_fields__] for line in report.tenants]
    waits = [
        [
            line.tenant,
            f"{line.pods:,}",
            ", ".join(f"{code} {count:,}" for code, count in line.reasons.items()),
        ]
        for line in report.waiting
    ]
    queue = _table(("tenant", "pods waiting", "why"), waits) if waits else "<p>No pod waits.</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Bulkhead: capacity now</title>'
        '<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="30">'
        f"<style>{STYLE}</style></head><body><h1>Capacity now</h1>"
        f'<p class="verdict">{report.pods:,} pods on {report.nodes - report.empty_nodes:,} of '
        f"{report.nodes:,} nodes</p>"
        f"{bars}{key()}<h2>Quota</h2>{_table(head, rows)}<h2>Queue</h2>{queue}"
        '<p class="note">Stranded: free capacity weighted by the chance that a random pod of those running could not '
        "use it.</p></body></html>\n"
    )


def _bar(share: Share) -> str:
    start, parts = 0.0, []
    colours = ("--used", "--over", "--lost", "--idle")
    for amount, colour in zip(
        (share.used, share.overhead, share.stranded, share.usable), colours, strict=True
    ):
        length = WIDTH * amount / share.capacity
        parts.append(bar(0, start, length, colour))
        start += length
    used = 100 * share.used / share.capacity
    return svg(1, "".join(parts) + f'<text x="8" y="20" fill="white">{used:.1f} % used</text>')


def _table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"
