"""What one apply would do, as one value: effects, objects, conflicts. Pure; `report` prints it."""

from __future__ import annotations

import msgspec

from tenants.plan.changes import Action, Change, Conflict
from tenants.plan.effect import Effect


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`notes` say what could not be known; `target` is where."""

    target: str
    effects: tuple[Effect, ...] = ()
    changes: tuple[Change, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether everything is as the files say."""
        return not self.effects and not self.changes and not self.conflicts

    def count(self, action: Action) -> int:
        """Objects that this happens to."""
        return sum(change.action is action for change in self.changes)
