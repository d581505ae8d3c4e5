"""The ledger: which pod takes what, and whether one more may. Pure; one owner, no lock of its own.

Everything is derived from two values: the quotas, and the entries keyed by pod UID. `admit` is all dimensions or
nothing and safe to repeat; a different charge for a known UID is a resize and is checked again. `record` writes
down what is a fact already (a pod found running), over quota or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tenants.errors import LedgerError
from tenants.ledger.answer import Admitted, Reason, Refused, Shortage, refused
from tenants.ledger.charge import Charge, Entry, Phase
from tenants.ledger.forest import Capacity, Forest, Line, Quotas, quotas_of
from tenants.ledger.tree import ROOT
from tenants.model import Dimension, TenantSet


class Ledger:
    """Who holds what.

    Attributes:
        quotas: the tree of the day, see `configure`.
        entries: uid -> entry; read it, change it only through the methods.
    """

    __slots__ = ("_claims", "_journal", "entries", "forest", "quotas", "uids_of")

    def __init__(self, quotas: Quotas | None = None) -> None:
        self.quotas = quotas or Quotas()
        self.forest = Forest(self.quotas)
        self.entries: dict[str, Entry] = {}
        self.uids_of: dict[str, set[str]] = {}
        self._claims: set[str] = set()
        self._journal: list[tuple[str, Entry | None] | tuple[Quotas, Forest]] | None = None

    @classmethod
    def from_tenants(cls, tenants: TenantSet, capacity: Capacity | None = None) -> Ledger:
        """An empty ledger; `capacity` is (pool, resource) -> what the nodes offer, where somebody watches them."""
        return cls(quotas_of(tenants, capacity))

    # --- changes --------------------------------------------------------------------------------------------

    def admit(self, charge: Charge) -> Admitted | Refused:
        """Take `charge` in all its dimensions, or nothing. The same charge again gets the same answer."""
        known = self.entries.get(charge.uid)
        if known and known.charge == charge and known.phase is not Phase.CLAIMED:
            return Admitted(charge.uid)
        refusal = self._refusal_apart_from(known, charge)
        if refusal is not None:
            return refusal
        leaving = known is not None and known.phase is Phase.TERMINATING
        self._put(charge.uid, Entry(charge, Phase.TERMINATING if leaving else Phase.HELD))
        return Admitted(charge.uid)

    def record(self, charge: Charge, phase: Phase = Phase.HELD) -> None:
        """Write down what is so, whatever the quota: a pod found running, or a claim with its victims chosen."""
        self._put(charge.uid, Entry(charge, phase))

    def terminate(self, uid: str) -> bool:
        """The pod is going; it holds its quota until `release`. False when the ledger does not know it."""
        entry = self.entries.get(uid)
        if entry is not None:
            self._put(uid, Entry(entry.charge, Phase.TERMINATING))
        return entry is not None

    def release(self, uid: str) -> bool:
        """The pod is gone: its quota is free. False when the ledger does not know it."""
        known = uid in self.entries
        self._put(uid, None)
        return known

    def configure(self, quotas: Quotas) -> None:
        """Change the tree: every sum is derived anew from the entries, nothing of the old tree survives."""
        forest = Forest(quotas)
        if self._journal is not None:
            self._journal.append((self.quotas, self.forest))
        self.quotas, self.forest = quotas, forest
        for entry in self.entries.values():
            self._shift(entry.charge, +1)

    @contextmanager
    def what_if(self) -> Iterator[None]:
        """Whatever is done inside is undone at the end; may be nested."""
        outer, self._journal = self._journal, []
        try:
            yield
        finally:
            steps, self._journal = self._journal, None
            for step in reversed(steps):
                if isinstance(step[0], Quotas):
                    self.quotas, self.forest = step
                else:
                    self._put(*step)
            self._journal = outer

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
        for uid, entry in self.entries.items():
            twin._put(uid, entry)
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

    def _put(self, uid: str, entry: Entry | None) -> None:
        """The one place where an entry appears, changes or goes."""
        before = self.entries.pop(uid, None)
        if self._journal is not None:
            self._journal.append((uid, before))
        if before is not None:
            self._shift(before.charge, -1)
            siblings = self.uids_of[before.charge.tenant]
            siblings.discard(uid)
            if not siblings:
                del self.uids_of[before.charge.tenant]
            self._claims.discard(uid)
        if entry is not None:
            self.entries[uid] = entry
            self._shift(entry.charge, +1)
            self.uids_of.setdefault(entry.charge.tenant, set()).add(uid)
            if entry.phase is Phase.CLAIMED:
                self._claims.add(uid)

    def _refusal_apart_from(self, known: Entry | None, charge: Charge) -> Refused | None:
        """The refusal as if `known` were not there; claims wait in one line, so none of them blocks another."""
        if known is None:
            return self.refusal(charge)
        claimed = known.phase is Phase.CLAIMED
        with self.what_if():
            self._put(charge.uid, None)
            if claimed:
                for uid in sorted(self._claims):
                    self._put(uid, None)
            return self.refusal(charge, None if claimed else known.charge)

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
