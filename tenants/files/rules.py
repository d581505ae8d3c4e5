"""Rules about names and namespaces, unique and without overlap, and the runtime that trust demands. Pure.

Called by `load` with every document of the directory at once, so that one run reports everything.
"""

from __future__ import annotations

from collections.abc import Iterator

from tenants.files.decode import Declared
from tenants.files.kinds import RuntimeClassFile, TenantFile, TreeFile
from tenants.files.positions import Document, Loc
from tenants.files.problem import Kind, Problem
from tenants.files.scalars import belongs_to_cluster
from tenants.model import Runtime, Trust


def problems(declared: list[Declared]) -> Iterator[Problem]:
    """Every broken rule about names, namespaces and runtimes."""
    yield from _duplicates(declared)
    yield from _overlaps(declared)
    for one in declared:
        if isinstance(one.file, TenantFile):
            yield from _own(one, one.file)


def _duplicates(declared: list[Declared]) -> Iterator[Problem]:
    first: dict[tuple[str, str], Document] = {}
    for document, file, *_ in declared:
        loc: Loc = ("metadata", "name") if isinstance(file, RuntimeClassFile) else ("name",)
        name = file.metadata.name if isinstance(file, RuntimeClassFile) else file.name
        space = "Tenant or TenantGroup" if isinstance(file, TreeFile) else file.kind
        before = first.setdefault((space, name), document)
        if before is not document:
            place = f"{before.path}:{before.place(loc).line}"
            yield document.problem(loc, Kind.DUPLICATE_NAME, f"{space} {name!r} exists already, in {place}")


def _own(one: Declared, file: TenantFile) -> Iterator[Problem]:
    """Rules about a tenant alone."""
    document = one.document
    runc = file.trust is Trust.UNTRUSTED and file.isolation.runtime is Runtime.RUNC
    if runc and not one.lacks("trust"):
        why = "an untrusted tenant never runs on runc, the shared kernel"
        yield document.problem(
            ("isolation", "runtime"), Kind.RUNTIME, why, "write bulkhead or auto, or trust: trusted"
        )
    if file.namespaces is None and belongs_to_cluster(file.name) and not one.lacks("namespaces"):
        why = f"namespace {file.name!r} belongs to the cluster, and a tenant without namespaces has its own name"
        yield document.problem(("name",), Kind.NAME, why, "state namespaces")
    for index, name in enumerate(file.isolation.never_with):
        if name == file.name:
            why = "a tenant is always with itself"
            fix = "coResidency: exclusive keeps its pods apart"
            yield document.problem(("isolation", "neverWith", index), Kind.WRONG_VALUE, why, fix)


def _overlaps(declared: list[Declared]) -> Iterator[Problem]:
    """Two tenants that could both own one namespace: sorted, a prefix stands right before what it covers."""
    patterns: list[tuple[str, str, Document, Loc]] = []
    for one in declared:
        document, file = one.document, one.file
        if isinstance(file, TenantFile) and file.namespaces is not None:
            patterns += [(p, file.name, document, ("namespaces", i)) for i, p in enumerate(file.namespaces)]
        elif isinstance(file, TenantFile) and not one.lacks("namespaces"):
            patterns.append((file.name, file.name, document, ("name",)))
    covering: list[tuple[str, str]] = []
    for pattern, tenant, document, loc in sorted(
        patterns, key=lambda p: (p[0].removesuffix("*"), p[0][-1:] != "*", p[2].path, p[2].place(p[3]))
    ):
        stem = pattern.removesuffix("*")
        while covering and not _covers(covering[-1][0], stem):
            covering.pop()
        rival = next(((other, owner) for other, owner in covering if owner != tenant), None)
        if rival:
            why = f"namespace {pattern!r} is also covered by {rival[0]!r} of tenant {rival[1]}"
            yield document.problem(loc, Kind.NAMESPACE_OVERLAP, why)
        if covering[-1:] != [(pattern, tenant)]:
            covering.append((pattern, tenant))


def _covers(pattern: str, stem: str) -> bool:
    return stem.startswith(pattern[:-1]) if pattern.endswith("*") else stem == pattern
