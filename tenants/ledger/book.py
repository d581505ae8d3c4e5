"""The ledger: which pod takes what, and whether one more may. Pure; one owner, no lock of its own.

Everything is derived from two values: the quotas, and the entries keyed by pod UID. `admit` is all dimensions or
nothing and safe to repeat; a different charge for a known UID is a resize and is checked again. `reserve` is the same
with a deadline, until `confirm`. `record` writes down what is a fact already (a pod found running), over quota or not.
Time comes in as wall-clock seconds, and only to be compared with deadlines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import Final

from tenants.errors import LedgerError
from tenants.ledger.answer import Admitted, Reason, Refused, Shortage, refused
from tenants.ledger.charge import Charge, Entry, Phase
from tenants.ledger.forest import Capacity, Forest, Line, Quotas, Route, quotas_of
from tenants.ledger.tree import ROOT
from tenants.model import Dimension, TenantSet

LONGEST_S: Final = 3_600.0  # no reservation outlives this, whatever its deadline says
_PRESENT: Final = frozenset({Phase.HELD, Phase.TERMINATING})

Journal = list[tuple[str, Entry | None] | tuple[Quotas, Forest]]


class Changes:
    """What an `attempt` has changed so far."""

    def __init__(self, ledger: Ledger, journal: Journal) -> None:
        self._ledger, self._journal = ledger, journal

    def entries(self) -> dict[str, Entry | None]:
        """uid -> its entry now, None where it is gone; without those that are again what they were."""
        before: dict[str, Entry | None] = {}
        for step in self._journal:
            if isinstance(step[0], str):
                before.setdefault(*step)
        now = self._ledger.entries
        return {uid: now.get(uid) for uid, old in before.items() if now.get(uid) != old}

    def quotas(self) -> Quotas | None:
        """The new tree; None where it is the old one."""
        before = next((step[0] for step in self._journal if isinstance(step[0], Quotas)), None)
        return None if before is None or before == self._ledger.quotas else self._ledger.quotas


class Ledger:
    """Who holds what.

    Attributes:
        quotas: the tree of the day, see `configure`.
        entries: uid -> entry; read it, change it only through the methods.
        uids_of, uids_on: the same by tenant, and by node where that is known.
        reserved: the UIDs of reservations.
        claims: the UIDs of what waits for its victims.
    """

    __slots__ = ("_journal", "claims", "entries", "forest", "quotas", "reserved", "uids_of", "uids_on")

    def __init__(self, quotas: Quotas | None = None) -> None:
        self.quotas = quotas or Quotas()
        self.forest = Forest(self.quotas)
        self.entries: dict[str, Entry] = {}
        self.uids_of: dict[str, set[str]] = {}
        self.uids_on: dict[str, set[str]] = {}
        self.claims: set[str] = set()
        self.reserved: set[str] = set()
        self._journal: Journal | None = None

    @classmethod
    def from_tenants(cls, tenants: TenantSet, capacity: Capacity | None = None) -> Ledger:
        """An empty ledger; `capacity` is (pool, resource) -> what the nodes offer, where somebody watches them."""
        return cls(quotas_of(tenants, capacity))

    # --- changes --------------------------------------------------------------------------------------------

    def admit(self, charge: Charge) -> Admitted | Refused:
        """Take `charge` in all its dimensions, or nothing. The same charge again gets the same answer."""
        return self._take(charge, Entry(charge))

    def reserve(self, charge: Charge, now_s: float, deadline_s: float) -> Admitted | Refused:
        """`admit` until `deadline_s`, at most LONGEST_S from now; `confirm` or `admit` holds it for good.

        Repeated, the deadline moves. A pod that is held already stays so.

        Raises:
            LedgerError: a time that is no number.
        """
        if not (isfinite(now_s) and isfinite(deadline_s)):
            raise LedgerError(f"reservation of pod {charge.uid}: {now_s} and {deadline_s} are no times")
        until = max(now_s, min(deadline_s, now_s + LONGEST_S))
        return self._take(charge, Entry(charge, Phase.RESERVED, now_s, until))

    def confirm(self, uid: str) -> bool:
        """Hold what was reserved. False when nothing is there to hold: it expired, or is a claim; `admit` it."""
        entry = self.entries.get(uid)
        if entry is None or entry.phase is Phase.CLAIMED:
            return False
        if entry.deadline_s:
            self.put(uid, Entry(entry.charge, _held(entry.phase)))
        return True

    def record(self, charge: Charge, phase: Phase = Phase.HELD) -> None:
        """Write down what is so, whatever the quota: a pod found running, or a claim with its victims chosen."""
        self.put(charge.uid, Entry(charge, phase))

    def terminate(self, uid: str) -> bool:
        """The pod is going; it holds its quota until `release`. False when the ledger does not know it."""
        entry = self.entries.get(uid)
        if entry is not None:
            self.put(uid, Entry(entry.charge, Phase.TERMINATING))
        return entry is not None

    def release(self, uid: str) -> bool:
        """The pod is gone: its quota is free. False when the ledger does not know it."""
        known = uid in self.entries
        self.put(uid, None)
        return known

    def configure(self, quotas: Quotas) -> None:
        """Change the tree: every sum is derived anew from the entries, nothing of the old tree survives."""
        forest = Forest(quotas)
        if self._journal is not None:
            self._journal.append((self.quotas, self.forest))
        self.quotas, self.forest = quotas, forest
        self._sum_up(self.entries.values())

    def put(self, uid: str, entry: Entry | None) -> None:
        """The one place where an entry appears, changes or goes (None). Checks nothing: for who replays a ledger."""
        before = self.entries.get(uid)
        if self._journal is not None:
            self._journal.append((uid, before))
        if before is None or entry is None or before.charge != entry.charge:
            self._replace(uid, before, entry)
        elif before.phase is not entry.phase:
            self._note(uid, entry.phase)
        if entry is not None:
            self.entries[uid] = entry

    def load(self, entries: Iterable[Entry]) -> None:
        """`put` many that are not here yet; quicker, as each sum is derived once."""
        if self._journal is not None:
            raise LedgerError("nothing is loaded inside of a what_if or an attempt")
        for entry in (found := list(entries)):
            uid, tenant = entry.charge.uid, entry.charge.tenant
            self.entries[uid] = entry
            self.uids_of.setdefault(tenant, set()).add(uid)
            if entry.charge.node:
                self.uids_on.setdefault(entry.charge.node, set()).add(uid)
            if entry.phase is not Phase.HELD:
                self._note(uid, entry.phase)
        self._sum_up(found)

    @contextmanager
    def what_if(self) -> Iterator[None]:
        """Whatever is done inside is undone at the end; may be nested."""
        outer, self._journal = self._journal, []
        try:
            yield
        finally:
            self._undo(self._journal)
            self._journal = outer

    @contextmanager
    def attempt(self) -> Iterator[Changes]:
        """Whatever is done inside is undone if the block raises; answers what was changed. Not to be nested."""
        journal: Journal = []
        self._journal = journal
        try:
            yield Changes(self, journal)
        except BaseException:
            self._undo(journal)
            raise
        finally:
            self._journal = None

    # --- questions ------------------------------------------------------------------------------------------

    def refusal(self, charge: Charge, held: Charge | None = None) -> Refused | None:
        """Why `charge` would be refused now. Where it asks no more than `held` (a resize), it is not checked."""
        route = self.forest.route(charge)
        if route.leaf == ROOT:
            return Refused(charge.uid, charge.tenant, Reason.NO_SUCH_TENANT)
        before = self.amounts(held) if held and held.tenant == charge.tenant else {}
        short = [
            Shortage(Reason.DIMENSION_NOT_STATED, dimension, charge.amounts[index][1], 0, charge.tenant)
            for dimension, index in route.unstated
        ]
        for line in route.lines:
            asked = charge.amounts[line.amount][1]
            if (
                line.limits
                and asked > line.tree.available(route.leaf).amount
                and asked > before.get(line.dimension, 0)
            ):
                short.append(self._shortage(line, asked, route.leaf))
        return refused(charge.uid, charge.tenant, short) if short else None

    def usage(self, name: str) -> Mapping[Dimension, int]:
        """What a tenant, or a group with its members, uses of every dimension that anybody states.

        Raises:
            LedgerError: neither a tenant nor a group has this name.
        """
        number = self._number(name)
        return {dimension: tree.total(number) for dimension, tree in self.forest.trees.items()}

    def available(self, name: str, dimension: Dimension) -> int:
        """What a tenant or group may still take; negative while it is over-admitted, 0 where nobody states it.

        Raises:
            LedgerError: neither a tenant nor a group has this name.
        """
        number, tree = self._number(name), self.forest.trees.get(dimension)
        return tree.available(number).amount if tree and dimension in self.forest.stated[number] else 0

    def amounts(self, charge: Charge) -> dict[Dimension, int]:
        """What `charge` takes of every dimension that anybody states."""
        return {line.dimension: charge.amounts[line.amount][1] for line in self.forest.route(charge).lines}

    def held_by(self, tenant: str) -> list[Entry]:
        """The entries of one tenant, by UID."""
        return [self.entries[uid] for uid in sorted(self.uids_of.get(tenant, ()))]

    def copy(self) -> Ledger:
        """A ledger of its own with the same content."""
        twin = Ledger(self.quotas)
        twin.load(self.entries.values())
        return twin

    def verify(self) -> None:
        """Derive every sum again.

        Raises:
            LedgerError: a sum differs; the message names each.
        """
        fresh = self.copy().forest
        wrong = [
            f"{name or 'pool'} {dimension}: {have} in the tree, {want} by its entries"
            for dimension, tree in self.forest.trees.items()
            for name, have, want in zip(
                self.forest.names, tree.usage, fresh.trees[dimension].usage, strict=True
            )
            if have != want
        ]
        if wrong:
            raise LedgerError("; ".join(wrong))

    # --- inside ---------------------------------------------------------------------------------------------

    def _take(self, charge: Charge, wanted: Entry) -> Admitted | Refused:
        known = self.entries.get(charge.uid)
        if known is None or known.charge != charge or known.phase is Phase.CLAIMED:
            refusal = self._refusal_apart_from(known, charge)
            if refusal is not None:
                return refusal
        if known is not None and known.phase in _PRESENT:
            wanted = Entry(charge, known.phase)
        if wanted != known:
            self.put(charge.uid, wanted)
        return Admitted(charge.uid)

    def _replace(self, uid: str, before: Entry | None, entry: Entry | None) -> None:
        """`put` where the sums change."""
        if before is not None:
            del self.entries[uid]
            self._shift(before.charge, -1)
            _leave(self.uids_of, before.charge.tenant, uid)
            _leave(self.uids_on, before.charge.node, uid)
        if entry is not None:
            self._shift(entry.charge, +1)
            self.uids_of.setdefault(entry.charge.tenant, set()).add(uid)
            if entry.charge.node:
                self.uids_on.setdefault(entry.charge.node, set()).add(uid)
        self._note(uid, entry.phase if entry is not None else None)

    def _note(self, uid: str, phase: Phase | None) -> None:
        self.claims.discard(uid)
        self.reserved.discard(uid)
        if phase is Phase.CLAIMED:
            self.claims.add(uid)
        elif phase is Phase.RESERVED:
            self.reserved.add(uid)

    def _undo(self, journal: Journal) -> None:
        self._journal = None
        for step in reversed(journal):
            if isinstance(step[0], Quotas):
                self.quotas, self.forest = step
            else:
                self.put(*step)

    def _refusal_apart_from(self, known: Entry | None, charge: Charge) -> Refused | None:
        """The refusal as if `known` were not there; claims wait in one line, so none of them blocks another."""
        if known is None:
            return self.refusal(charge)
        claimed = known.phase is Phase.CLAIMED
        with self.what_if():
            self.put(charge.uid, None)
            if claimed:
                for uid in sorted(self.claims):
                    self.put(uid, None)
            return self.refusal(charge, None if claimed else known.charge)

    def _sum_up(self, entries: Iterable[Entry]) -> None:
        """Add them to the sums: use is a function of what each leaf uses, so one shift per leaf and tree will do."""
        sums: dict[int, tuple[Route, list[int]]] = {}
        for entry in entries:
            route = self.forest.route(entry.charge)
            total = sums.setdefault(id(route), (route, [0] * len(entry.charge.amounts)))[1]
            for index, (_, amount) in enumerate(entry.charge.amounts):
                total[index] += amount
        for route, total in sums.values():
            for line in route.lines:
                line.tree.shift(route.leaf, total[line.amount])

    def _shift(self, charge: Charge, sign: int) -> None:
        leaf, lines, _ = self.forest.route(charge)
        for _, tree, index, _ in lines:
            tree.shift(leaf, sign * charge.amounts[index][1])

    def _shortage(self, line: Line, asked: int, leaf: int) -> Shortage:
        room, most = line.tree.available(leaf), line.tree.potential[leaf]
        if asked > most.amount:
            reason, room = Reason.EXCEEDS_MAX_QUOTA, most
        else:
            reason = Reason.WAITING_FOR_QUOTA if room.node == ROOT else Reason.BORROWING_LIMIT_REACHED
        return Shortage(reason, line.dimension, asked, room.amount, self.forest.names[room.node])

    def _number(self, name: str) -> int:
        number = self.forest.number_of.get(name, ROOT)
        if number == ROOT:
            raise LedgerError(f"the ledger has no tenant or group {name!r}")
        return number


def _held(phase: Phase) -> Phase:
    return phase if phase in _PRESENT else Phase.HELD


def _leave(index: dict[str, set[str]], key: str, uid: str) -> None:
    uids = index.get(key)
    if uids is not None:
        uids.discard(uid)
        if not uids:
            del index[key]
