"""What there is: every sandbox with its order and how it stands."""

from __future__ import annotations

from typing import Any, NamedTuple

from sandbox_runtime.errors import BadInput, JournalCorrupt
from sandbox_runtime.lifecycle import journal, recover
from sandbox_runtime.paths import Paths
from sandbox_runtime.supervisor import order as orders
from sandbox_runtime.supervisor.order import Order
from sandbox_runtime.vmm.recover import MAKER


class Known(NamedTuple):
    """One sandbox."""

    id: str
    order: Order
    outcome: dict[str, Any]

    @property
    def running(self) -> bool:
        """Whether a supervisor takes care of it."""
        return self.outcome.get("phase") not in (None, "stopped", "deleted")

    @property
    def status(self) -> str:
        """For people."""
        if self.running or not self.outcome:
            return str(self.outcome.get("phase", "created"))
        reason = self.outcome.get("reason")
        code = self.outcome.get("code")
        return f"exited ({code})" if reason == "exited" else f"{reason} ({code})"


def known(paths: Paths) -> list[Known]:
    """All of them, the oldest first; what a crash left is cleaned up before."""
    recover.recover(paths)
    found = []
    for directory in paths.sandboxes.glob("[!.]*"):
        if directory.name.startswith(MAKER):
            continue
        try:
            found.append(Known(directory.name, orders.read(directory), journal.read_outcome(directory)))
        except JournalCorrupt:
            continue  # being made just now
    return sorted(found, key=lambda each: (each.order.created_ns, each.id))


def one(paths: Paths, sandbox_id: str) -> Known:
    """The one of that id. Raises BadInput."""
    for each in known(paths):
        if each.id == sandbox_id:
            return each
    raise BadInput(f"there is no sandbox {sandbox_id}")
