"""Rule of references: whoever a document names is in the set. Pure.

Called by `load` with every document at once. A file that can't be read may hold what is missing, so the
problem says so instead of guessing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from tenants.files.decode import Declared
from tenants.files.kinds import NodeClassFile, TenantFile, TreeFile
from tenants.files.positions import Loc
from tenants.files.problem import Kind, Problem, did_you_mean
from tenants.model import DEFAULT_POOL, SANDBOX_HANDLER, TenantSet


class Unread(NamedTuple):
    """Where a name may be that is not in the set.

    `names` are those of documents too broken to decode; of `files` nothing is known.
    """

    names: frozenset[str] = frozenset()
    files: tuple[str, ...] = ()


class _Reference(NamedTuple):
    """A name in a document; `missing` says what is wrong unless it is one of `known`."""

    loc: Loc
    name: str
    known: Collection[str]
    missing: str
    is_key: bool = False


def problems(declared: list[Declared], found: TenantSet, unread: Unread) -> Iterator[Problem]:
    """Every reference to what is not there."""
    for one in declared:
        for reference in _references(one, found):
            if reference.name not in reference.known and reference.name not in unread.names:
                yield one.document.problem(
                    reference.loc, Kind.UNKNOWN_REFERENCE, reference.missing,
                    _hint(reference, unread), key=reference.is_key,
                )  # fmt: skip


def _hint(reference: _Reference, unread: Unread) -> str:
    hint = did_you_mean(reference.name, reference.known)
    if hint.startswith("did you mean") or not unread.files:
        return hint
    return f"or is it in {unread.files[0]}, which can't be read?"


def _references(one: Declared, found: TenantSet) -> Iterator[_Reference]:
    if isinstance(one.file, NodeClassFile):
        yield from _handlers(one.file, found)
    if isinstance(one.file, TreeFile):
        yield from _in_tree(one.file, found)
    if isinstance(one.file, TenantFile):
        yield from _neighbours(one.file, found)


def _handlers(file: NodeClassFile, found: TenantSet) -> Iterator[_Reference]:
    known = {"runc", SANDBOX_HANDLER, *(each.handler for each in found.runtime_classes.values())}
    for index, handler in enumerate(file.handlers):
        yield _Reference(("handlers", index), handler, known, f"no RuntimeClass has the handler {handler!r}")


def _in_tree(file: TreeFile, found: TenantSet) -> Iterator[_Reference]:
    parent = file.parent
    if parent is not None:
        missing = f"no group {parent!r}"
        if parent in found.tenants:
            missing = f"{parent!r} is a tenant, and only groups have members"
        yield _Reference(("parent",), parent, found.groups, missing)
    pools = {DEFAULT_POOL, *found.pools}
    for pool in file.quota:
        yield _Reference(("quota", pool), pool, pools, f"no Pool {pool!r}", is_key=True)
    for pool, by_class in file.runtime_quota.items():
        yield _Reference(("runtimeQuota", pool), pool, pools, f"no Pool {pool!r}", is_key=True)
        for name in by_class:
            loc = ("runtimeQuota", pool, name)
            yield _Reference(loc, name, found.runtime_classes, f"no RuntimeClass {name!r}", is_key=True)


def _neighbours(file: TenantFile, found: TenantSet) -> Iterator[_Reference]:
    for index, name in enumerate(file.isolation.never_with):
        yield _Reference(("isolation", "neverWith", index), name, found.tenants, f"no tenant {name!r}")
    for key, peers in (("allowFrom", file.network.allow_from), ("allowTo", file.network.allow_to)):
        for index, peer in enumerate(peers):
            if peer.tenant is not None:
                loc = ("network", key, index, "tenant")
                yield _Reference(loc, peer.tenant, found.tenants, f"no tenant {peer.tenant!r}")
