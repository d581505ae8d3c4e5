"""The results as tables for people, and as JSON's own types."""

from __future__ import annotations

from typing import Any

from benchmarks.sandbox.starts import Starts
from benchmarks.sandbox.storage import NAMES, NINEP, Row, Storage
from sandbox_runtime.model import MIB

VIRTIOFS = NAMES["virtiofs"]


def plain(value: Any) -> Any:
    """Named tuples as objects."""
    if hasattr(value, "_asdict"):
        return {name: plain(field) for name, field in value._asdict().items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def table(results: Any, misses: list[str]) -> str:
    """Everything that was measured."""
    lines = [f"accel={results.accel}"]
    if results.starts:
        lines += _starts(results.starts)
    lines += [_overhead(row) for row in results.overhead or []]
    if results.storage:
        lines += _storage(results.storage)
    if results.neighbours:
        lines += _neighbours(results.neighbours)
    for each in results.endurance or []:
        lines.append(
            f"{each.rounds} x {each.kind}: {each.failures} failures, {each.silent} booted once more, "
            f"{each.left} left behind, "
            f"median {each.median_ms} ms, worst {each.worst_ms} ms, {each.seconds} s in all"
        )
        lines += each.told
    lines += [f"MISSED: {miss}" for miss in misses] or ["every bar is met"]
    return "\n".join(lines) + "\n"


def _starts(starts: Starts) -> list[str]:
    lines = [
        f"{name:10} ours {beside.ours_ms:8.1f} ms  bare QEMU {beside.bare_ms:8.1f} ms  ratio {beside.ratio:.2f}"
        f"  ({beside.rounds} in turns)  phases {beside.phases_ms}"
        for name, beside in (("restore", starts.restore), ("cold boot", starts.boot))
    ]
    many = starts.at_once_ms
    lines.append(f"restore is {starts.boot_over_restore}x faster than cold boot")
    lines.append(f"{len(many)} at once: {many[0]} to {many[-1]} ms")
    return lines


def _overhead(row: dict[str, Any]) -> str:
    mib = {name.removesuffix("_bytes"): value / MIB for name, value in row.items() if name.endswith("_bytes")}
    return (
        f"idle sandbox of {mib['memory']:5.0f} MiB beside {row['beside']}: VMM {mib['vmm']:.1f} + "
        f"translated code {mib['translated']:.1f} + "
        f"supervisor {mib['helper']:.1f} + guest {mib['guest']:.1f} = {mib['total']:.1f} MiB, bar {mib['bar']:.1f}; "
        f"of it {mib['guest_template']:.1f} the template's, so {mib['further']:.1f} for each further one"
    )


def _storage(storage: Storage) -> list[str]:
    """Over virtiofs and 9p: by how much a way beats the same work there, each over the raw disk of its guest."""
    raw = {(row.way, row.work): row.of_raw for row in storage.rows}
    lines = [f"{'way':22} {'work':20} {'figure':>10} {'':5} of raw disk  of host  over virtiofs  over 9p"]
    for row in storage.rows:
        work = " ".join(row.work)
        beside = "".join(
            _over(row, raw.get((way, row.work), 0.0), width) for way, width in ((VIRTIOFS, 15), (NINEP, 9))
        )
        figures = f"{row.figure:10.1f} {row.unit:5} {row.of_raw:11.2f} {row.of_host:8.2f}{beside}"
        lines.append(f"{row.way:22} {work:20} {figures}")
    return lines + [f"left out: {why}" for why in storage.skipped]


def _over(row: Row, other: float, width: int) -> str:
    return f"{row.of_raw / other:{width}.2f}" if other else f"{'n/a':>{width}}"


def _neighbours(found: Any) -> list[str]:
    calm = f"sandbox {found.calm_sandbox_p99_ms} ms, runc {found.calm_runc_p99_ms} ms"
    lines = [f"calm, 99th percentile of a request: {calm}"]
    for each in found.noise:
        beside = (
            ""
            if each.sandbox_over_runc_attack is None
            else (
                f"  over the same from runc: {each.sandbox_over_runc_attack:.2f}, {each.runc_over_runc_attack:.2f}"
            )
        )
        lines.append(
            f"{each.attack:13} from {each.attacker:8} sandbox {each.sandbox_p99_ms:8.2f} ms "
            f"({each.sandbox_over_calm:.1f}x)  runc {each.runc_p99_ms:8.2f} ms ({each.runc_over_calm:.1f}x){beside}"
        )
    return lines + [f"left out: {why}" for why in found.skipped]
