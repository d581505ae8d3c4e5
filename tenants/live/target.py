"""What `plan` and `apply` need of the place where objects live; `cluster` and `directory` provide it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from tenants.plan.changes import Conflict, Immutable, Unsaid
from tenants.plan.objects import Object, Ref
from tenants.pods import Pod


class Target(Protocol):
    """A place with objects in it. Every method may raise ClusterError."""

    @property
    def name(self) -> str:
        """As a reader names it."""

    @property
    def acts(self) -> bool:
        """Whether a write takes effect at once, as in a cluster; files wait for somebody to apply them."""

    def owned(self) -> Mapping[Ref, Object]:
        """Every object there that is ours by its label."""

    def current(self, refs: Iterable[Ref]) -> Mapping[Ref, Object]:
        """Those of `refs` that exist, ours or not."""

    def serves(self, version: str, kind: str) -> bool:
        """Whether objects of this kind can be there at all."""

    def preview(self, manifest: Object, *, force: bool) -> Object | Conflict | Immutable | Unsaid:
        """What the object would be after `write`; nothing is written."""

    def write(self, manifest: Object, *, force: bool) -> Conflict | None:
        """Create, update or replace; a conflict leaves the object as it is."""

    def settle(self) -> None:
        """Return when the admission policies that were written are enforced."""

    def remove(self, ref: Ref) -> None:
        """Delete; one that is already gone is fine."""

    def release(self, ref: Ref) -> None:
        """Give up our fields and labels of an object that stays."""

    def occupied(self, namespace: str) -> str:
        """What a namespace holds that would be lost with it, such as "3 pods"; empty = nothing."""

    def pods(self) -> list[Pod] | None:
        """What runs; None where that can't be known."""

    def namespaces(self) -> list[str]:
        """Names of the namespaces there are."""
