"""The figures of sandboxes as Prometheus text. Pure: figures in, text out.

Names follow Prometheus' rules (base units, `_total` for counters); every series of a sandbox carries `sandbox` and
`accel`, so that a figure that was measured under emulation cannot be taken for one of a real machine.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

Figures = Mapping[str, Any]
BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
START = (
    "group",
    "storage",
    "shares",
    "network",
    "machine",
    "channel",
    "configure",
    "mount",
    "create",
    "created",
)


class Family(NamedTuple):
    """One metric and all of its series."""

    name: str
    kind: str
    help: str
    lines: list[str]


_HOST = (
    ("cpu_seconds_total", "counter", "CPU time of all processes of the sandbox on the host.", "cpu_us", 1e-6),
    (
        "resident_bytes",
        "gauge",
        "Resident memory of all processes, pages shared with others included.",
        "rss_bytes",
        1,
    ),
    ("processes", "gauge", "Processes of the sandbox on the host.", "processes", 1),
    (
        "silent_starts_total",
        "counter",
        "Machines that were given up and booted once more, as their guest said nothing.",
        "silent_starts",
        1,
    ),
    ("memory_size_bytes", "gauge", "Memory of the virtual machine.", "memory_bytes", 1),
)
_GUEST = (
    ("guest_memory_total_bytes", "gauge", "Memory as the guest sees it.", "memory_total_bytes", 1),
    (
        "guest_memory_available_bytes",
        "gauge",
        "Available memory as the guest sees it.",
        "memory_available_bytes",
        1,
    ),
    ("guest_page_cache_bytes", "gauge", "Page cache of the guest.", "page_cache_bytes", 1),
    ("guest_cpu_seconds_total", "counter", "CPU time as the guest counts it.", "cpu_us", 1e-6),
    ("guest_agent_bytes", "gauge", "Memory of the agent.", "agent_bytes", 1),
)
_CONTAINER = (
    ("container_cpu_seconds_total", "counter", "CPU time of the container.", "cpu_us", 1e-6),
    (
        "container_throttled_seconds_total",
        "counter",
        "Time it was held back by its CPU limit.",
        "throttled_us",
        1e-6,
    ),
    ("container_memory_bytes", "gauge", "Memory of the container, page cache included.", "memory_bytes", 1),
    ("container_working_set_bytes", "gauge", "Memory without inactive file pages.", "working_set_bytes", 1),
    ("container_memory_limit_bytes", "gauge", "Memory limit; 0 is none.", "memory_limit_bytes", 1),
    ("container_oom_kills_total", "counter", "Processes killed for memory.", "oom_kills", 1),
    ("container_read_bytes_total", "counter", "Bytes read from disks.", "read_bytes", 1),
    ("container_written_bytes_total", "counter", "Bytes written to disks.", "written_bytes", 1),
    ("container_processes", "gauge", "Processes in the container.", "pids", 1),
)
_DISK = (
    ("disk_read_bytes_total", "counter", "Bytes read from the disk by the guest.", "rd_bytes", 1),
    ("disk_written_bytes_total", "counter", "Bytes written to the disk by the guest.", "wr_bytes", 1),
    ("disk_reads_total", "counter", "Reads of the disk.", "rd_operations", 1),
    ("disk_writes_total", "counter", "Writes to the disk.", "wr_operations", 1),
)
_INTERFACE = (
    ("network_received_bytes_total", "counter", "Bytes that the guest received.", "received_bytes", 1),
    ("network_sent_bytes_total", "counter", "Bytes that the guest sent.", "sent_bytes", 1),
    ("network_receive_drops_total", "counter", "Packets dropped on their way in.", "receive_drops", 1),
    ("network_send_drops_total", "counter", "Packets dropped on their way out.", "send_drops", 1),
)


def text(sandboxes: Iterable[Figures], starts: Figures = MappingProxyType({})) -> str:
    """All of them as one exposition (Prometheus text format 0.0.4), with the node's starts since its boot."""
    page = _Page()
    for figures in sandboxes:
        _one(page, figures)
    for key, seen in sorted(starts.items()):
        accel, start, phase = key.split(" ")
        labels = f'accel="{escape(accel)}",start="{escape(start)}",phase="{escape(phase)}"'
        page.histogram(
            "start_phase_seconds", "Time that a phase of the starts on this node took.", labels, seen
        )
    return page.text()


class _Page:
    def __init__(self) -> None:
        self._families: dict[str, Family] = {}

    def add(self, row: tuple[str, str, str], labels: str, value: float) -> None:
        name, kind, about = row
        family = self._families.get(name)
        if family is None:
            family = self._families[name] = Family(f"bulkhead_sandbox_{name}", kind, about, [])
        family.lines.append(f"{family.name}{{{labels}}} {_number(value)}")

    def histogram(self, name: str, about: str, labels: str, seen: Figures) -> None:
        """One histogram, as `observe` keeps it."""
        family = self._families.get(name)
        if family is None:
            family = self._families[name] = Family(f"bulkhead_sandbox_{name}", "histogram", about, [])
        below = 0
        for bound, count in zip((*map("{:g}".format, BUCKETS), "+Inf"), seen["counts"], strict=True):
            below += count
            family.lines.append(f'{family.name}_bucket{{{labels},le="{bound}"}} {below}')
        family.lines.append(f"{family.name}_sum{{{labels}}} {_number(seen['sum'])}")
        family.lines.append(f"{family.name}_count{{{labels}}} {below}")

    def text(self) -> str:
        lines = []
        for family in self._families.values():
            lines.append(f"# HELP {family.name} {family.help}")
            lines.append(f"# TYPE {family.name} {family.kind}")
            lines += family.lines
        return "\n".join(lines) + "\n" if lines else ""


def _one(page: _Page, figures: Figures) -> None:
    labels = f'sandbox="{escape(str(figures.get("id", "")))}",accel="{escape(str(figures.get("accel", "")))}"'
    start = "restore" if figures.get("restored") else "cold"
    page.add(
        ("info", "gauge", "One for each sandbox, with how it was started."),
        f'{labels},start="{start}",phase="{escape(str(figures.get("phase", "")))}"',
        1,
    )
    _fields(page, _HOST, labels, figures)
    _fields(page, _GUEST, labels, figures.get("guest", {}))
    for container in figures.get("containers", ()):
        _fields(page, _CONTAINER, f'{labels},container="{escape(container["id"])}"', container)
    for disk, counters in figures.get("disks", {}).items():
        _fields(page, _DISK, f'{labels},disk="{escape(disk)}"', counters)
    for interface in figures.get("interfaces", ()):
        _fields(page, _INTERFACE, f'{labels},interface="{escape(interface["name"])}"', interface)


def observe(starts: Figures, accel: str, start: str, timings: Iterable[tuple[str, float]]) -> dict[str, Any]:
    """The node's histograms with one more start in them; `starts` may be what anybody found in a file."""
    found = dict(starts)
    for phase, seconds in phases(timings):
        key = f"{accel} {start} {phase}"
        before = found.get(key, {"counts": [0] * (len(BUCKETS) + 1), "sum": 0.0})
        counts = list(before["counts"])
        counts[bisect_left(BUCKETS, seconds)] += 1
        found[key] = {"counts": counts, "sum": before["sum"] + seconds}
    return found


def phases(timings: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """(phase, seconds that it took) of a start, from the moments at which phases began."""
    marks = [(name, at) for name, at in timings if name in START or name == "started"]
    found = [(name, after - at) for (name, at), (_, after) in pairwise(marks)]
    created = [at for name, at in marks if name == "created"]
    return [*(each for each in found if each[0] != "created"), *(("ready", at) for at in created)]


def _fields(
    page: _Page, rows: Iterable[tuple[str, str, str, str, float]], labels: str, source: Figures
) -> None:
    for name, kind, about, field, scale in rows:
        if field in source:
            page.add((name, kind, about), labels, source[field] * scale)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.6f}"


def escape(label: str) -> str:
    """A label value: a guest may have put anything into a name."""
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
