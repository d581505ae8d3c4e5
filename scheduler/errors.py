"""The exceptions of the scheduler: a broken world or broken input, never a refused pod.

SchedulerError
├── BadInput          a file or argument the user can mend; carries every Problem found (exit status 2)
├── StateConflict     an event contradicts the cluster state (unknown node, pod placed twice)
├── StateCorrupt      verify() found the integer arrays at odds with the placed pods
├── StoreUnavailable  the ledger store cannot be opened, read or written now (defined in store.protocol)
└── KubeError         the API server cannot be reached (kube.errors draws the rest)
"""

from __future__ import annotations

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with an input: where it is (column 0: the whole line), why, and what to do about it."""

    path: str
    line: int
    why: str
    hint: str = ""
    col: int = 0

    def __str__(self) -> str:
        """Render as `file:line[:col]: why; hint`, the form editors and CI logs can jump to."""
        place = f"{self.path}:{self.line}:{self.col}" if self.col else f"{self.path}:{self.line}"
        return f"{place}: {self.why}" + (f"; {self.hint}" if self.hint else "")


class SchedulerError(Exception):
    """Root of everything this package raises."""


class BadInput(SchedulerError):
    """Input that cannot be used; `problems` holds all that was found, in file order."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class StateConflict(SchedulerError):
    """An event that cannot follow from the state it is applied to."""


class StateCorrupt(SchedulerError):
    """The arrays and the placed pods disagree; `differences` names each place."""

    def __init__(self, differences: list[str]) -> None:
        super().__init__("; ".join(differences[:5]))
        self.differences = differences
