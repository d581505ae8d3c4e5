"""Reads an event file line by line and judges every decision in it. Called by the command line and the benchmarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from benchmarks.checker.cluster import Ask, Cluster
from benchmarks.checker.findings import Kind, Violation
from benchmarks.checker.lines import SCHEMA, Line, Node, Placed, Refused, Run, RuntimeClass, Standing, Tenant
from benchmarks.checker.placements import check_placed
from benchmarks.checker.refusals import check_refused

KEPT = 1000


class Unreadable(Exception):
    """The file is no event file; the message says where and why."""


class Report(msgspec.Struct):
    """What a file holds and what is wrong with it; only the first `KEPT` violations are kept, all are counted."""

    schema: int = 1
    lines: int = 0
    runs: int = 0
    placed: int = 0
    refused: int = 0
    violations: int = 0
    by_kind: dict[str, int] = {}
    shown: list[Violation] = []


class Verifier:
    """Takes the lines of a file one after the other."""

    def __init__(self) -> None:
        self.report = Report()
        self._kinds: Counter[str] = Counter()
        self._in_run = False
        self._begin()

    def _begin(self) -> None:
        self._cluster: Cluster | None = None
        self._nodes: dict[str, Node] = {}
        self._tenants: dict[str, Tenant] = {}
        self._classes: dict[str, RuntimeClass] = {}
        self._decided: set[str] = set()
        self._next = 0

    def take(self, line: Line) -> None:
        """Judge one line.

        Raises:
            Unreadable: the line cannot stand here.
        """
        match line:
            case Run():
                self._start(line)
            case Standing():
                self._standing(self._built(line), line)
            case Placed() | Refused():
                self._decision(self._built(line), line)
            case Node() | Tenant() | RuntimeClass():
                self._fact(line)
        self.report.lines += 1

    def _start(self, line: Run) -> None:
        if line.schema != SCHEMA:
            raise Unreadable(f"schema {line.schema} is unknown, this checker reads {SCHEMA}")
        self._in_run = True
        self.report.runs += 1
        self._begin()

    def _fact(self, line: Node | Tenant | RuntimeClass) -> None:
        if not self._in_run or self._cluster is not None:
            raise Unreadable(
                f"a {type(line).__name__.lower()} line must follow a run line, before any decision"
            )
        known: dict[str, Node] | dict[str, Tenant] | dict[str, RuntimeClass]
        match line:
            case Node():
                known = self._nodes
            case Tenant():
                known = self._tenants
            case RuntimeClass():
                known = self._classes
        if line.name in known:
            raise Unreadable(f"{type(line).__name__.lower()} {line.name!r} is stated twice")
        known[line.name] = line  # type: ignore[assignment]  # the match above chose the dictionary of its kind

    def _built(self, line: Standing | Placed | Refused) -> Cluster:
        """The cluster of the run; its facts are complete at the first pod."""
        if not self._in_run:
            raise Unreadable("a pod must follow a run line")
        if self._cluster is None:
            self._cluster = Cluster(list(self._nodes.values()), self._tenants, self._classes)
        if isinstance(line, Standing) and self._next:
            raise Unreadable("a standing pod must come before any decision")
        return self._cluster

    def _standing(self, cluster: Cluster, line: Standing) -> None:
        node = cluster.number_of.get(line.node)
        if node is None or not all(0 <= device < cluster.nodes[node].gpus for device in line.devices):
            raise Unreadable(
                f"pod {line.pod} stands on {line.node!r} with devices {list(line.devices)}: no such"
            )
        self._decided.add(line.pod)
        cluster.take(self._ask(cluster, line), node, line.devices)

    def _decision(self, cluster: Cluster, line: Placed | Refused) -> None:
        if line.seq != self._next:
            self._note(Kind.SEQUENCE, f"pod {line.pod} has seq {line.seq}, due is {self._next}")
        self._next = line.seq + 1
        if line.pod in self._decided:
            self._note(Kind.DECIDED_TWICE, f"pod {line.pod} was decided before")
        self._decided.add(line.pod)
        if isinstance(line, Placed):
            self._placed(cluster, line)
        else:
            self.report.refused += 1
            self._notes(check_refused(cluster, self._ask(cluster, line), line))

    def _placed(self, cluster: Cluster, line: Placed) -> None:
        self.report.placed += 1
        node = cluster.number_of.get(line.node)
        if node is None:
            self._note(
                Kind.UNKNOWN_NODE, f"pod {line.pod} was placed on {line.node!r}, which the run does not have"
            )
            return
        ask = self._ask(cluster, line)
        self._notes(check_placed(cluster, ask, line))
        there = cluster.nodes[node].gpus
        cluster.take(ask, node, [device for device in set(line.devices) if 0 <= device < there])

    def _ask(self, cluster: Cluster, line: Standing | Placed | Refused) -> Ask:
        return cluster.ask(line.shape, sandboxed=bool(line.sandboxed))

    def _notes(self, found: Iterable[tuple[Kind, str]]) -> None:
        for kind, what in found:
            self._note(kind, what)

    def _note(self, kind: Kind, what: str) -> None:
        self.report.violations += 1
        self._kinds[kind] += 1
        self.report.by_kind = dict(self._kinds)
        if len(self.report.shown) < KEPT:
            self.report.shown.append(Violation(self.report.lines + 1, kind, what))


def verify(path: Path) -> Report:
    """Judge a whole file, holding one line at a time.

    Raises:
        Unreadable: it cannot be opened, or a line is none of the format; the message names file and line.
    """
    verifier = Verifier()
    try:
        for line in decoded(path):
            verifier.take(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, Unreadable) as error:
        raise Unreadable(f"{path}:{verifier.report.lines + 1}: {error}") from error
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from error
    if not verifier.report.runs:
        raise Unreadable(f"{path}:1: the file is empty")
    return verifier.report


def decoded(path: Path) -> Iterator[Line]:
    """The lines of a file as values."""
    decoder = msgspec.json.Decoder(Line)
    with path.open("rb") as lines:
        for text in lines:
            yield decoder.decode(text)
