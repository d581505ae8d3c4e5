"""Where the tenant files come from while serving, and when they have changed.

A directory (a mounted ConfigMap too: the kubelet swaps a symlink) is looked at every few seconds; a ConfigMap is
watched. Files that do not pass `check` change nothing: the last good ones stay in force, the problems are logged and
counted by a metric.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from scheduler.errors import BadInput, Problem
from scheduler.kube.objects import ConfigMapObject
from tenants.files.load import parse, read
from tenants.files.problem import Problem as Found
from tenants.model import TenantSet

CONFIG_MAP: Final = "configmap:"

logger = structlog.get_logger("tenants")


class TenantFiles:
    """A directory of tenant files.

    Raises:
        BadInput: at the start, with every problem; there is nothing to fall back on yet.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._texts: Mapping[str, str] | None = None
        self.problems: list[Problem] = []
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
            return found
        self.problems = complain(found)
        return None


class TenantMap:
    """A ConfigMap whose values are tenant files; the sink of its watch.

    Args:
        take: is given the tenants whenever they are new and good.
    """

    def __init__(self, take: Callable[[TenantSet], None]) -> None:
        self._take = take
        self._data: Mapping[str, str] | None = None
        self.problems: list[Problem] = [Problem(CONFIG_MAP, 0, "is not read yet")]

    def replaced(self, objects: list[ConfigMapObject]) -> None:
        """See `watch.Sink`; without the ConfigMap the last tenants stay in force."""
        for found in objects:
            self.changed(found)
        if not objects:
            self.problems = [
                Problem(CONFIG_MAP, 0, "does not exist", "kubectl create configmap … --from-file=DIR")
            ]

    def changed(self, obj: ConfigMapObject) -> None:
        """See `watch.Sink`."""
        if obj.data == self._data:
            return
        self._data = obj.data
        if not obj.data:  # nothing wrong is in it, and yet it would lift every quota and every wall at once
            self.problems = [Problem(CONFIG_MAP, 0, "is empty, the last tenants stay")]
            return
        found = parse(obj.data)
        if isinstance(found, TenantSet):
            self.problems = []
            self._take(found)
        else:
            self.problems = complain(found)

    def removed(self, obj: ConfigMapObject) -> None:
        """See `watch.Sink`; a deletion may be half of a replacement."""
        self._data = None
        self.problems = [Problem(CONFIG_MAP, 0, "was deleted")]


def complain(found: list[Found]) -> list[Problem]:
    """The problems in the words of this package, logged."""
    problems = [
        Problem(p.path, p.line, f"{p.where}: {p.why}".lstrip(": "), p.suggestion, p.col) for p in found
    ]
    logger.error(
        "tenant files refused, the last good ones stay", problems=[str(one) for one in problems[:10]]
    )
    return problems
