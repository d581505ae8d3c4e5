"""Rules across documents about names: unique, known, no overlap; and the runtime that trust demands. Pure.

Called by `load` with every document of the directory at once, so that one run reports everything.
"""

from __future__ import annotations

from collections.abc import Iterator

from tenants.files.decode import Declared
from tenants.files.kinds import RuntimeClassFile, TenantFile, TreeFile
from tenants.files.positions import Document, Loc
from tenants.files.problem import Kind, Problem, did_you_mean
from tenants.model import DEFAULT_POOL, Runtime, TenantSet, Trust


def problems(declared: list[Declared], found: TenantSet) -> Iterator[Problem]:
    """Every broken rule about names and runtimes."""
    yield from _duplicates(declared)
    yield from _overlaps(declared)
    for document, file in declared:
        if isinstance(file, TreeFile):
            yield from _references(document, file, found)
        if isinstance(file, TenantFile):
            yield from _neighbours(document, file, found)
            yield from _runtime(document, file)


def _duplicates(declared: list[Declared]) -> Iterator[Problem]:
    first: dict[tuple[str, str], Document] = {}
    for document, file in declared:
        loc: Loc = ("metadata", "name") if isinstance(file, RuntimeClassFile) else ("name",)
        name = file.metadata.name if isinstance(file, RuntimeClassFile) else file.name
        space = "Tenant or TenantGroup" if isinstance(file, TreeFile) else file.kind
        before = first.setdefault((space, name), document)
        if before is not document:
            place = f"{before.path}:{before.values[loc].line}"
            yield document.problem(loc, Kind.DUPLICATE_NAME, f"{space} {name!r} exists already, in {place}")


def _references(document: Document, file: TreeFile, found: TenantSet) -> Iterator[Problem]:
    if file.parent is not None and file.parent not in found.groups:
        leaf = file.parent in found.tenants
        why = (
            f"{file.parent!r} is a tenant, and only groups have members"
            if leaf
            else f"no group {file.parent!r}"
        )
        yield document.problem(
            ("parent",), Kind.UNKNOWN_REFERENCE, why, did_you_mean(file.parent, found.groups)
        )
    pools = {DEFAULT_POOL, *found.pools}
    for key, by_pool in (("quota", file.quota), ("runtimeQuota", file.runtime_quota)):
        for pool in by_pool:
            if pool not in pools:
                hint = did_you_mean(pool, pools)
                yield document.problem(
                    (key, pool), Kind.UNKNOWN_REFERENCE, f"no Pool {pool!r}", hint, key=True
                )
    for pool, by_class in file.runtime_quota.items():
        for name in by_class:
            if name not in found.runtime_classes:
                hint = did_you_mean(name, found.runtime_classes)
                loc = ("runtimeQuota", pool, name)
                yield document.problem(
                    loc, Kind.UNKNOWN_REFERENCE, f"no RuntimeClass {name!r}", hint, key=True
                )


def _neighbours(document: Document, file: TenantFile, found: TenantSet) -> Iterator[Problem]:
    wanted: list[tuple[Loc, str]] = [
        (("isolation", "neverWith", index), name) for index, name in enumerate(file.isolation.never_with)
    ]
    for key, peers in (("allowFrom", file.network.allow_from), ("allowTo", file.network.allow_to)):
        wanted += [
            (("network", key, i, "tenant"), peer.tenant) for i, peer in enumerate(peers) if peer.tenant
        ]
    for loc, name in wanted:
        if name not in found.tenants:
            hint = did_you_mean(name, found.tenants)
            yield document.problem(loc, Kind.UNKNOWN_REFERENCE, f"no tenant {name!r}", hint)


def _runtime(document: Document, file: TenantFile) -> Iterator[Problem]:
    if file.trust is Trust.UNTRUSTED and file.isolation.runtime is Runtime.RUNC:
        why = "an untrusted tenant never runs on runc, the shared kernel"
        yield document.problem(
            ("isolation", "runtime"), Kind.RUNTIME, why, "write bulkhead or auto, or trust: trusted"
        )


def _overlaps(declared: list[Declared]) -> Iterator[Problem]:
    """Two tenants that could both own one namespace: sorted, a prefix stands right before what it covers."""
    patterns: list[tuple[str, str, Document, Loc]] = []
    for document, file in declared:
        if isinstance(file, TenantFile):
            stated = [file.name] if file.namespaces is None else file.namespaces
            patterns += [(p, file.name, document, ("namespaces", i)) for i, p in enumerate(stated)]
    covering: list[tuple[str, str]] = []
    for pattern, tenant, document, loc in sorted(
        patterns, key=lambda p: (p[0].removesuffix("*"), p[0][-1:] != "*")
    ):
        stem = pattern.removesuffix("*")
        while covering and not _covers(covering[-1][0], stem):
            covering.pop()
        rivals = [(other, owner) for other, owner in covering if owner != tenant]
        if rivals:
            other, owner = rivals[0]
            why = f"namespace {pattern!r} is also covered by {other!r} of tenant {owner}"
            yield document.problem(loc, Kind.NAMESPACE_OVERLAP, why)
        covering.append((pattern, tenant))


def _covers(pattern: str, stem: str) -> bool:
    return stem.startswith(pattern[:-1]) if pattern.endswith("*") else stem == pattern
