"""Where the tenant files come from while serving, and when they have changed.

A directory (a mounted ConfigMap too: the kubelet swaps a symlink) is looked at every few seconds. Files that do not
pass `check` change nothing: the last good ones stay in force, and the problem is logged and told by a metric.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from scheduler.errors import BadInput
from scheduler.errors import Problem as Reported
from tenants.files.load import Sources, parse, read
from tenants.model import TenantSet


class Loaded(NamedTuple):
    """Tenant files as they were read, and what they say."""

    sources: Sources
    tenants: TenantSet


class TenantFiles:
    """A directory of tenant files.

    Raises:
        BadInput: at the start, with every problem; there is nothing to fall back on yet.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.problems: list[Reported] = []
        self._texts: dict[str, str] | None = None
        first = self.changed()
        if first is None:
            raise BadInput(self.problems)
        self.tenants = first

    def changed(self) -> TenantSet | None:
        """The tenants when the files differ from last time and are good, else None."""
        sources = read([self._directory])
        if sources.texts == self._texts and not sources.unreadable:
            return None
        self._texts = sources.texts
        found = parse(*sources)
        if isinstance(found, TenantSet):
            self.problems = []
            self.tenants = found
            return found
        self.problems = [Reported(p.path, p.line, str(p.why), p.suggestion, p.col) for p in found]
        return None
